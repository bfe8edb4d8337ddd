// What a thread of the pool does. The function stands alone, with nothing of this module around it, because Node gets
// it as text.

import type { WasmFunction } from './module.ts';

/** What a thread gets once; all of it can be posted. */
export interface ThreadSetup {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** The names of the kernels, by the number that the mailbox calls them by. */
  readonly names: readonly string[];
  readonly part: number;
  readonly parts: number;
  readonly meetingAt: number;
  /** Where `words` words stand, and behind them at most `mostArguments` doubles. */
  readonly mailbox: { readonly at: number; readonly words: number; readonly mostArguments: number };
  readonly sharedAt: number;
  readonly scratchAt: number;
}

/**
 * Runs its part of every launch that comes to the mailbox, and returns when the pool ends: the mailbox holds a number
 * that grows with every launch, the kernel (below 0: the end), the count of arguments, and behind its words those, as
 * doubles. Calls `ready` once, before it first waits.
 */
export function runThread(setup: ThreadSetup, ready: () => void): void {
  const { module, memory, names, part, parts, meetingAt, mailbox, sharedAt, scratchAt } = setup;
  const exports = new WebAssembly.Instance(module, { env: { memory } }).exports as Record<string, WasmFunction>;
  exports['placeThread']!(meetingAt, scratchAt, sharedAt);
  const kernels = names.map((name) => exports[name]!);
  const meet = exports['meet']!;
  // A view of its own for each: the memory may grow, and a shared one keeps the old views.
  const words = new Int32Array(memory.buffer, mailbox.at, mailbox.words);
  const doubles = new Float64Array(memory.buffer, mailbox.at + 4 * mailbox.words, mailbox.mostArguments);
  let seen = 0;
  ready();
  for (;;) {
    let spins = 3000;
    while (Atomics.load(words, 0) === seen) if (--spins < 0) Atomics.wait(words, 0, seen);
    seen = Atomics.load(words, 0);
    if (words[1]! < 0) return;
    kernels[words[1]!]!(...doubles.subarray(0, words[2]), part, parts);
    meet(parts);
  }
}
