// The command line in this process, with what it says.

import type { CommandIo } from '../../../src/cli/command.ts';
import { run } from '../../../src/cli/main.ts';

export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `tabmesh ...args`; `io` replaces parts of what the command sees. */
export async function tabmeshWith(io: Partial<CommandIo>, ...args: string[]): Promise<Said> {
  const lines = { out: [] as string[], err: [] as string[] };
  const code = await run(args, {
    signal: new AbortController().signal,
    interactive: false,
    columns: 100,
    ...io,
    out: (line) => {
      lines.out.push(line);
      io.out?.(line);
    },
    err: (line) => {
      lines.err.push(line);
      io.err?.(line);
    },
  });
  return { code, out: lines.out.join('\n'), err: lines.err.join('\n') };
}

export const tabmesh = (...args: string[]): Promise<Said> => tabmeshWith({}, ...args);
