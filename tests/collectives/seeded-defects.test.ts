// Proof that the simulator and the checks can fail: each seeded defect must be caught.

import { describe, expect, it } from 'vitest';
import type { Group, Operation } from '../../src/collectives/group.ts';
import { encodeFrame, linkFrame } from '../../src/transport/frame.ts';
import { Inbox, MAX_EARLY_BYTES, MAX_EARLY_FRAMES } from '../../src/transport/inbox.ts';
import type { InboxEvents } from '../../src/transport/inbox.ts';
import { decodeFrame } from '../../src/transport/frame.ts';
import { simulate, verdict } from '../support/collective-simulator.ts';
import type { SimulationOptions } from '../support/collective-simulator.ts';
import { tapped } from '../contracts/transport-contract.ts';

/** Changes the operations of rank `spoilt`. */
function defect(
  spoilt: number,
  change: (operation: Operation, group: Group, n: number) => Partial<Operation>,
): SimulationOptions['spoil'] {
  return (group, rank) => {
    if (rank !== spoilt) return group;
    let n = 0;
    return {
      ...group,
      begin: (kind, seq) => {
        const operation = group.begin(kind, seq);
        return { ...operation, ...change(operation, group, n++) };
      },
    };
  };
}

const lost = new Promise<never>(() => undefined);

const DEFECTS: Record<string, SimulationOptions> = {
  'a dropped chunk': { spoil: defect(0, (operation, _, n) => (n === 1 ? { send: () => Promise.resolve() } : {})) },
  'a sum of another contribution': {
    spoil: defect(1, (operation) => ({
      send: (to, chunk, data) =>
        operation.send(to, chunk, data instanceof Float32Array ? data.map((x) => x + 1) : data),
    })),
  },
  'two operations that change places': {
    spoil: (group, rank) =>
      rank === 0
        ? {
            ...group,
            begin: (() => {
              let n = 0;
              return (kind, seq) => {
                const at = n++;
                return group.begin(kind, seq ?? (at === 1 ? 2 : at === 2 ? 1 : at));
              };
            })(),
          }
        : group,
  },
  'a collective that hangs on one rank': {
    spoil: defect(1, (operation, _, n) =>
      n === 2 ? { recv: () => lost, recvUpTo: () => lost, send: () => lost } : {},
    ),
  },
  'a missing view check': {
    wrap: (wire) =>
      tapped(wire, (message, pass) => {
        new DataView(message.buffer, message.byteOffset).setUint32(12, 5, true);
        pass(message);
      }),
  },
};

it.each(Object.entries(DEFECTS))('the simulator finds %s within 20 seeds', async (_, options) => {
  const found: string[] = [];
  for (let seed = 1; seed <= 20 && found.length === 0; seed++) {
    const problem = verdict(await simulate(seed, { fault: 'none', ...options }));
    if (problem !== undefined) found.push(problem);
  }
  expect(found.length).toBe(1);
});

it('none of them is there to be found in the real code', async () => {
  for (let seed = 1; seed <= 20; seed++) expect(verdict(await simulate(seed, { fault: 'none' }))).toBeUndefined();
});

it('a failing seed is replayed exactly', async () => {
  for (const seed of [3, 8, 21, 34]) {
    const [a, b] = [await simulate(seed), await simulate(seed)];
    const story = (run: typeof a): string =>
      JSON.stringify([run.fault, run.outcomes.map(({ state, error, atMs }) => [state, String(error), atMs])]);
    expect(story(a)).toBe(story(b));
  }
});

describe('bounded buffers', () => {
  /** Floods an inbox with small messages that nobody awaits, until it protests; the most that it held. */
  function flood(
    payloadBytes: number,
    protests: (inbox: Inbox) => Partial<InboxEvents>,
  ): { bytes: number; frames: number } {
    let stopped = false;
    const events: InboxEvents = {
      fault: () => {
        stopped = true;
      },
      grant: () => undefined,
      credit: () => undefined,
      now: () => 0,
    };
    const inbox: Inbox = new Inbox(0, 1, { ...events, ...protests({} as Inbox) });
    for (let seq = 0; seq < 12_000 && !stopped; seq++)
      inbox.data(
        decodeFrame(
          encodeFrame({ ...linkFrame('data', 1, 1, new Uint8Array(payloadBytes)), seq, total: payloadBytes }),
        ),
      );
    return inbox.early;
  }

  function check(protests: (inbox: Inbox) => Partial<InboxEvents> = () => ({})): void {
    for (const payloadBytes of [0, 4, 65_000]) {
      const { bytes, frames } = flood(payloadBytes, protests);
      expect(bytes).toBeLessThanOrEqual(MAX_EARLY_BYTES + 65_536);
      expect(frames).toBeLessThanOrEqual(MAX_EARLY_FRAMES + 1);
    }
  }

  it('hold what a peer sends unasked to the caps', () => check());
  it('are missed when the strike is ignored (seeded defect)', () => {
    expect(() => check(() => ({ fault: () => undefined }))).toThrow();
  });
});
