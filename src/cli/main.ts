// The command line: `tabmesh COMMAND [options]`. Commands are the files of commands/; each is loaded only when it is
// needed. Exit codes: 0 ok, 1 failure, 2 bad usage or input, 130 stopped by Ctrl-C (a second does not wait). This is
// the one place that hears signals and failing output: either becomes the abort of `io.signal`.

import type { Command, CommandIo, StopReason } from './command.ts';
import { AbortedError, ConfigError, FormatError, LayoutError, TabmeshError } from '../base/errors.ts';
import { packageVersion } from '../server/root.ts';
import { didYouMean } from './nearest.ts';
import { nextTask } from '../base/world.ts';

const loaders = import.meta.glob<Command>('./commands/*.ts', { import: 'command' });
const commands = new Map(
  Object.entries(loaders).map(([path, load]) => [path.slice('./commands/'.length, -'.ts'.length), load]),
);

async function overview(): Promise<string> {
  const all = await Promise.all([...commands.values()].map((load) => load()));
  const width = Math.max(...all.map((command) => command.name.length));
  return [
    'tabmesh: train neural networks across browser tabs',
    '',
    'usage: tabmesh COMMAND [options]',
    '',
    ...all.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`),
    '',
    'tabmesh COMMAND --help says more, tabmesh --version which one this is.',
  ].join('\n');
}

/** Runs one command line to its exit code. Never throws for what a user can do wrong. */
export async function run(args: readonly string[], io: CommandIo): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    io.out(await overview());
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === '-v') {
    io.out(packageVersion());
    return 0;
  }
  const load = commands.get(name);
  if (load === undefined) {
    io.err(
      `tabmesh: unknown command '${name}'${didYouMean(name, [...commands.keys()]) || ';'} the commands are ${[...commands.keys()].join(', ')}`,
    );
    return 2;
  }
  const command = await load();
  if (rest.includes('--help') || rest.includes('-h')) {
    const { help, helpOf = {} } = command;
    io.out(Object.hasOwn(helpOf, rest[0]!) ? helpOf[rest[0]!]! : help);
    return 0;
  }
  const stopped = (): number => ((io.signal.reason as StopReason | undefined)?.readerGone && !command.trains ? 0 : 130);
  try {
    const code = await command.run(rest, io);
    return io.signal.aborted && !(command.trains && code !== 0) ? stopped() : code;
  } catch (error) {
    if (io.signal.aborted && (!command.trains || error instanceof AbortedError)) return stopped();
    // A sentence is enough for what users meet; the stack of our own bugs is worth having.
    const known = error instanceof TabmeshError && !error.message.startsWith('internal:');
    io.err(
      `tabmesh ${name}: ${known ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
    // What stands in a file is no matter of options.
    if (error instanceof FormatError) return 2;
    if (!(error instanceof ConfigError || error instanceof LayoutError)) return 1;
    io.err(`tabmesh ${name} --help lists the options`);
    return 2;
  }
}

/**
 * Ctrl-C arrives twice where npm passes it on to a process that the terminal has told already; within this time it
 * counts once.
 */
const SAME_SIGNAL_MS = 300;

/** The process around `run`: stdout, stderr and the signals. */
export async function main(args: readonly string[]): Promise<number> {
  const { stdout, stderr } = process;
  const stop = new AbortController();
  let stoppedAt = 0;
  let lost: string | undefined;
  const abort = (reason: StopReason): void => {
    stoppedAt = performance.now();
    stop.abort(reason);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (!stop.signal.aborted) {
      stderr.write('\nstopping; press Ctrl-C again to quit at once\n');
      abort({ text: signal === 'SIGINT' ? 'Ctrl-C' : signal, readerGone: false });
    } else if (signal !== 'SIGHUP' && performance.now() - stoppedAt > SAME_SIGNAL_MS) process.exit(130);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  for (const [name, stream] of [
    ['stdout', stdout],
    ['stderr', stderr],
  ] as const) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // A terminal that was closed answers EIO.
      const readerGone = error.code === 'EPIPE' || error.code === 'EIO';
      if (!readerGone) lost ??= `${name} cannot be written: ${error.message}`;
      if (!stop.signal.aborted) abort({ text: lost ?? `nobody reads ${name} any more`, readerGone });
    });
  }
  const draws = stderr.isTTY && process.env['TERM'] !== 'dumb' && !process.env['NO_COLOR'];
  const code = await run(args, {
    out: (line) => {
      stdout.write(`${line}\n`);
    },
    err: (line) => {
      stderr.write(`${line}\n`);
    },
    signal: stop.signal,
    interactive: stdout.isTTY === true,
    columns: (draws ? stderr.columns : stdout.columns) ?? 120,
    ...(draws
      ? {
          redraw: (text: string) => {
            stderr.write(`\r\x1b[K${text}`);
          },
        }
      : {}),
  });
  // Output is told to have failed a little later than it is written.
  for (const stream of [stdout, stderr])
    await new Promise<void>((resolve) => {
      stream.write('', () => resolve());
    });
  await nextTask();
  if (lost === undefined) return code;
  stderr.write(`tabmesh: ${lost}\n`);
  return code === 2 ? 2 : 1;
}
