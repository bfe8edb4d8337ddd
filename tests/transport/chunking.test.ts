// Chunking: any split of any set of messages, in any interleaving, gives the messages; any other order, duplication or
// loss gives them too or a named fault, never wrong numbers. Checked on the receiving half itself, so that a wire that
// breaks its promise is covered.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decodeFrame, encodeFrame, linkFrame } from '../../src/transport/frame.ts';
import type { Frame } from '../../src/transport/frame.ts';
import { Inbox } from '../../src/transport/inbox.ts';
import { firstDifference, ramp } from '../contracts/transport-contract.ts';

interface Message {
  readonly count: number;
  readonly cuts: readonly number[];
  readonly early: boolean;
}

const messages = fc.array(
  fc.record({
    count: fc.oneof(fc.nat(40), fc.constant(5000)),
    cuts: fc.array(fc.nat(40), { maxLength: 6 }),
    early: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
);

/** The frames of message `seq`, cut at any words. */
function framesOf({ count, cuts }: Message, seq: number): Frame[] {
  const bytes = new Uint8Array(ramp(count, seq).buffer);
  const edges = [...new Set([0, ...cuts.map((cut) => 4 * Math.min(cut, count)), 4 * count])].sort((a, b) => a - b);
  const pieces = count === 0 ? [[0, 0]] : edges.slice(1).map((end, i) => [edges[i], end]);
  return pieces.map(([start, end]) =>
    decodeFrame(
      encodeFrame({
        ...linkFrame('data', 1, 1, bytes.slice(start, end)),
        group: 1,
        seq,
        kind: 'gradient',
        total: 4 * count,
        offset: start,
      }),
    ),
  );
}

/**
 * Delivers `frames` to an inbox that awaits the messages, some before and some after; true when all came right, false
 * after a fault.
 */
async function deliver(list: readonly Message[], frames: readonly Frame[]): Promise<boolean> {
  let fault: string | undefined;
  const inbox = new Inbox(0, 1, {
    fault: (_, detail) => {
      fault ??= detail;
    },
    grant: () => undefined,
    credit: () => undefined,
    now: () => 0,
  });
  const outs = list.map(({ count }) => new Float32Array(count).fill(-1));
  const received: boolean[] = [];
  const recv = (seq: number): void => {
    void inbox.recv({ group: 1, seq, chunk: 0, kind: 'gradient' }, outs[seq]).then(() => {
      received[seq] = true;
    });
  };
  for (const [seq, { early }] of list.entries()) if (early) recv(seq);
  for (const frame of frames) if (fault === undefined) inbox.data(frame);
  for (const [seq, { early }] of list.entries()) if (!early && fault === undefined) recv(seq);
  await Promise.resolve();
  await Promise.resolve();
  // What is said to be there is right, fault or not.
  for (const [seq, { count }] of list.entries())
    if (received[seq]) expect(firstDifference(outs[seq], ramp(count, seq))).toBe(-1);
  return fault === undefined && list.every((_, seq) => received[seq]);
}

it('any split and any interleaving that keeps each message in order gives all messages', async () => {
  await fc.assert(
    fc.asyncProperty(messages, fc.infiniteStream(fc.nat(1000)), async (list, dice) => {
      const queues = list.map(framesOf);
      const frames: Frame[] = [];
      while (queues.some((queue) => queue.length > 0)) {
        const waiting = queues.filter((queue) => queue.length > 0);
        frames.push(waiting[dice.next().value % waiting.length].shift()!);
      }
      expect(await deliver(list, frames)).toBe(true);
    }),
    { numRuns: 1000 },
  );
});

it('any order, any duplication, any loss: right numbers or a fault or a wait, never wrong numbers', async () => {
  let broken = 0;
  await fc.assert(
    fc.asyncProperty(
      messages.chain((list) => {
        const frames = list.flatMap(framesOf);
        return fc.tuple(fc.constant(list), fc.array(fc.constantFrom(...frames), { maxLength: 2 * frames.length }));
      }),
      async ([list, frames]) => {
        if (!(await deliver(list, frames))) broken++;
      },
    ),
    { numRuns: 2000 },
  );
  expect(broken).toBeGreaterThan(500);
});

it('a frame that is longer than its message, or says another length, is a fault', async () => {
  const list: Message[] = [{ count: 8, cuts: [3], early: true }];
  const [first, second] = framesOf(list[0], 0);
  expect(await deliver(list, [first, second])).toBe(true);
  expect(await deliver(list, [first, { ...second, total: 64 }])).toBe(false);
  expect(await deliver(list, [first, { ...second, args: 3 }])).toBe(false);
  expect(await deliver(list, [second, first])).toBe(false);
});
