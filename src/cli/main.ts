// The command line: `tabmesh COMMAND [options]`. Commands are the files of commands/; each is loaded only when it is needed.
// Exit codes: 0 ok, 1 failure, 2 bad usage, 130 stopped by Ctrl-C (a second Ctrl-C does not wait).

import type { Command, CommandIo } from './command.ts';
import { ConfigError, TabmeshError } from '../base/errors.ts';

const loaders = import.meta.glob<Command>('./commands/*.ts', { import: 'command' });
const commands = new Map(Object.entries(loaders).map(([path, load]) => [path.slice('./commands/'.length, -'.ts'.length), load]));

async function overview(): Promise<string> {
  const all = await Promise.all([...commands.values()].map((load) => load()));
  const width = Math.max(...all.map((command) => command.name.length));
  return ['tabmesh: train neural networks across browser tabs', '', 'usage: tabmesh COMMAND [options]', '',
    ...all.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`), '', 'tabmesh COMMAND --help says more.'].join('\n');
}

/** Runs one command line to its exit code. Never throws for what a user can do wrong. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    io.out(await overview());
    return name === undefined ? 2 : 0;
  }
  const load = commands.get(name);
  if (load === undefined) {
    io.err(`tabmesh: unknown command '${name}'; the commands are ${[...commands.keys()].join(', ')}`);
    return 2;
  }
  const command = await load();
  if (rest.includes('--help') || rest.includes('-h')) {
    io.out(command.help);
    return 0;
  }
  try {
    const code = await command.run(rest, io);
    return io.signal.aborted ? 130 : code;
  } catch (error) {
    if (io.signal.aborted) return 130;
    // A sentence is enough for what users meet; the stack of our own bugs is worth having.
    const known = error instanceof TabmeshError && !error.message.startsWith('internal:');
    io.err(`tabmesh ${name}: ${known ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    if (!(error instanceof ConfigError)) return 1;
    io.err(`tabmesh ${name} --help lists the options`);
    return 2;
  }
}

/** The process around `run`: stdout, stderr and the signals. */
export async function main(args: readonly string[]): Promise<number> {
  const stop = new AbortController();
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(130);
    process.stderr.write('\nstopping; press Ctrl-C again to quit at once\n');
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  // A reader that has seen enough (`tabmesh ... | head`) is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => { if (error.code === 'EPIPE') process.exit(0); throw error; });
  return run(args, {
    out: (line) => { process.stdout.write(`${line}\n`); },
    err: (line) => { process.stderr.write(`${line}\n`); },
    signal: stop.signal, interactive: process.stdout.isTTY === true, columns: process.stdout.columns ?? 120,
  });
}
