// The contract of every file in src/cli/commands: its name is its file's name, it explains itself, and bad options end
// with exit code 2.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Command, CommandIo } from '../../src/cli/command.ts';
import { run } from '../../src/cli/main.ts';
import { PRESET_NAMES } from '../../src/model/presets.ts';
import { schedules } from '../../src/parallel/pipeline/registry.ts';
import { sequenceStrategies } from '../../src/parallel/sequence/registry.ts';

const files = import.meta.glob<Command>('../../src/cli/commands/*.ts', { import: 'command' });

function recorder(
  signal = new AbortController().signal,
): CommandIo & { readonly stdout: string[]; readonly stderr: string[] } {
  const stdout: string[] = [];
  const stderr: string[] = [];
  return {
    stdout,
    stderr,
    out: (line) => {
      stdout.push(line);
    },
    err: (line) => {
      stderr.push(line);
    },
    signal,
    interactive: false,
    columns: 120,
  };
}

describe.each(Object.entries(files))('%s', (path, load) => {
  const name = path.split('/').at(-1)!.replace('.ts', '');

  it('is named after its file and has a one-line summary', async () => {
    const command = await load();
    expect(command.name).toBe(name);
    expect(command.summary).toMatch(/^[^\n]{10,100}[^\n.]$/);
  });
  it('prints help that says how to use it', async () => {
    const io = recorder();
    expect(await run([name, '--help'], io)).toBe(0);
    expect(io.stdout.join('\n')).toContain(`usage: tabmesh ${name}`);
    expect(io.stderr).toEqual([]);
  });
  it('names in its help every value that an option knows by name, and a default or what happens without one', async () => {
    const { help } = await load();
    const names: Readonly<Record<string, readonly string[]>> = {
      '--model': PRESET_NAMES,
      '--schedule': [...schedules.keys()],
      '--sequence': [...sequenceStrategies.keys()],
      '--backend': name === 'demo' ? ['auto', 'webgpu', 'wasm'] : ['chromium', 'node'],
    };
    for (const [option, values] of Object.entries(names)) {
      const line = help.match(new RegExp(`^  ${option} [^\n]*(\n {6,}[^\n]*)?`, 'm'))?.[0];
      if (line === undefined || (option === '--model' && name === 'verify')) continue;
      for (const value of values) expect(line, `${name} ${option}`).toContain(value);
      expect(line, `${name} ${option}`).toContain('default');
    }
  });
  it('refuses an option that it does not have, with exit code 2 and one sentence', async () => {
    const io = recorder();
    expect(await run([name, '--no-such-option'], io)).toBe(2);
    expect(io.stderr[0]).toMatch(new RegExp(`^tabmesh ${name}: --no-such-option: [^\n]*$`));
    expect(io.stdout).toEqual([]);
  });
});

describe('tabmesh', () => {
  it('lists all commands, for --help with exit code 0 and without arguments with 2', async () => {
    const io = recorder();
    expect(await run(['--help'], io)).toBe(0);
    for (const path of Object.keys(files))
      expect(io.stdout.join('\n')).toContain(`  ${path.split('/').at(-1)!.replace('.ts', '')} `);
    expect(await run([], recorder())).toBe(2);
  });
  it('shows the help of bench collectives by itself, and of bench with all', async () => {
    const helpOf = async (...words: string[]): Promise<string> => {
      const io = recorder();
      expect(await run(['bench', ...words, '--help'], io)).toBe(0);
      return io.stdout.join('\n');
    };
    const own = await helpOf('collectives');
    expect(own).toMatch(/^tabmesh bench collectives: [^]*^ {2}--sizes /m);
    expect(own).not.toMatch(/--visits|--cases|step\|kernels/);
    for (const words of [[], ['step'], ['constructor']])
      expect(await helpOf(...words)).toMatch(/^ {2}--visits [^]*^ {2}--sizes /m);
  });
  it('says its version', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    for (const option of ['--version', '-v']) {
      const io = recorder();
      expect(await run([option], io)).toBe(0);
      expect(io.stdout).toEqual([version]);
    }
  });

  it('refuses an unknown command and names those there are', async () => {
    const io = recorder();
    expect(await run(['simulat'], io)).toBe(2);
    expect(io.stderr[0]).toMatch(
      /^tabmesh: unknown command 'simulat'; did you mean simulate\? the commands are .*simulate/,
    );
  });
  it('ends with 130 once it was stopped', async () => {
    const stop = new AbortController();
    stop.abort();
    expect(await run(['simulate'], recorder(stop.signal))).toBe(130);
  });
});
