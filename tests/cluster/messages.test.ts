import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { FormatError } from '../../src/base/errors.ts';
import { decodeMessage, encodeMessage } from '../../src/cluster/messages.ts';
import type { Message } from '../../src/cluster/messages.ts';
import { decodePresence, encodePresence } from '../../src/cluster/presence.ts';
import { presence } from './support.ts';

const address = presence(3).address;
const MESSAGES: readonly Message[] = [
  {
    type: 'offer',
    view: {
      view: 4,
      run: 0xffffffff,
      wish: 3,
      members: [presence(1).address, address],
      plan: { layout: 'dp=2', nested: [1, { a: null }] },
    },
  },
  { type: 'stale', refused: 3, view: 7 },
  {
    type: 'report',
    view: 4,
    report: {
      rank: 1,
      ready: false,
      note: 'compiling',
      links: [
        { state: 'open', attempt: 2 },
        undefined,
        { state: 'failed', attempt: 1, reason: 'ICE', note: 'no route' },
        { state: 'connecting', attempt: 3, note: 'TURN' },
      ],
    },
  },
  { type: 'retry', view: 4, pairs: [{ low: 0, high: 2, attempt: 3 }] },
  { type: 'start', view: 4 },
  { type: 'abandon', view: 4, reason: 'no', end: 'again' },
  { type: 'busy', refused: 4 },
  { type: 'refuse', wish: 9, reason: 'no such model' },
  { type: 'act', run: 7, act: 'pause' },
  { type: 'ask', run: 7 },
  { type: 'news', run: 7, body: { step: 3, loss: [1, 2.5] } },
  { type: 'ice', view: 4, attempt: 1, data: { type: 'offer', sdp: 'v=0' } },
  {
    type: 'ice',
    view: 4,
    attempt: 1,
    data: { type: 'candidate', candidate: { candidate: 'candidate:1', sdpMLineIndex: 0, sdpMid: null } },
  },
];

const BUSY = presence(3, {
  run: { run: 1, wish: 2, view: 3, rank: 1, size: 2, phase: 'forming' },
  wants: { wish: 4, run: 5, worldSize: 2, plan: { config: { steps: 3 } } },
  ended: { run: 6, wish: 7, step: 8, how: 'stopped', rank: 9 },
  holds: { run: 6, step: 4, hash: 'a1'.repeat(32), bytes: 1000 },
});

test('a presence with a run, a wish, an end and a checkpoint survives the way', () => {
  expect(decodePresence(encodePresence(BUSY), BUSY.address)).toEqual(BUSY);
});

test.each(MESSAGES)('$type survives the way', (message) => {
  expect(decodeMessage(encodeMessage(message))).toEqual(message);
});

describe('whatever arrives gives a message or a FormatError', () => {
  const total =
    (decode: (bytes: Uint8Array<ArrayBuffer>) => unknown) =>
    (bytes: Uint8Array): void => {
      try {
        decode(new Uint8Array(bytes));
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
      }
    };
  const decodeOwn = (bytes: Uint8Array<ArrayBuffer>): unknown => decodePresence(bytes, address);

  test('random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), total(decodeMessage)), { numRuns: 500 });
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), total(decodeOwn)), { numRuns: 500 });
  });

  test('well-formed messages with one field replaced by any JSON', () => {
    const samples: readonly unknown[] = [...MESSAGES, presence(3), BUSY];
    fc.assert(
      fc.property(fc.constantFrom(...samples), fc.nat(20), fc.jsonValue(), (sample, at, value) => {
        const copy = JSON.parse(JSON.stringify(sample)) as Record<string, unknown>;
        const paths: [Record<string, unknown>, string][] = [];
        const walk = (node: Record<string, unknown>): void => {
          for (const key of Object.keys(node)) {
            paths.push([node, key]);
            if (typeof node[key] === 'object' && node[key] !== null) walk(node[key] as Record<string, unknown>);
          }
        };
        walk(copy);
        const [node, key] = paths[at % paths.length]!;
        node[key] = value;
        const bytes = new TextEncoder().encode(JSON.stringify(copy));
        total(decodeMessage)(bytes);
        total(decodeOwn)(bytes);
      }),
      { numRuns: 1000 },
    );
  });
});

test('a transceiver request, which would open a camera line, is refused', () => {
  const bytes = new TextEncoder().encode(
    JSON.stringify({
      type: 'ice',
      view: 1,
      attempt: 1,
      data: { type: 'transceiverRequest', transceiverRequest: { kind: 'video' } },
    }),
  );
  expect(() => decodeMessage(bytes)).toThrow('signal: expected an offer, an answer or a candidate');
});

test('nobody can announce itself under the address of another', () => {
  const bytes = encodePresence(presence(1));
  expect(decodePresence(bytes, presence(1).address)).toEqual(presence(1));
  expect(() => decodePresence(bytes, presence(2).address)).toThrow(
    /expected the address 0000000000000002 of its sender/,
  );
});

test('a list of members with one twice is refused', () => {
  const twice = encodeMessage({
    type: 'offer',
    view: { view: 1, run: 1, wish: 1, members: [address, address], plan: null },
  });
  expect(() => decodeMessage(twice)).toThrow('signal: expected at least one member, and none twice');
});
