// A whole cluster of communicators under one seeded clock: mixed collectives, random delays, and at most one fault. A
// run says for each rank what it got, and `verdict` says what is wrong with it: a hang, a wrong result, an innocent
// culprit, too late an end, or something left behind. The same seed gives the same run.

import { PeerError } from '../../src/base/errors.ts';
import { VirtualWorld } from '../../src/base/world.ts';
import type { World } from '../../src/base/world.ts';
import { createCommunicator } from '../../src/collectives/library/communicator.ts';
import type { Communicator } from '../../src/collectives/library/communicator.ts';
import type { Group } from '../../src/collectives/group.ts';
import { encodeFrame, linkFrame } from '../../src/transport/frame.ts';
import { loopbackPair } from '../../src/transport/loopback.ts';
import type { LoopbackPair } from '../../src/transport/loopback.ts';
import type { Lanes, Wire } from '../../src/transport/transport.ts';
import { tapped } from '../contracts/transport-contract.ts';
import { CALLS } from './simulated-calls.ts';
import { dice } from './dice.ts';
import type { Dice } from './dice.ts';

export const FAULTS = [
  'none',
  'kill',
  'freeze short',
  'freeze long',
  'cut one way',
  'stuck',
  'garbage',
  'swap',
  'drop',
] as const;
export type Fault = (typeof FAULTS)[number];

export interface Outcome {
  readonly state: 'right' | 'wrong' | 'failed' | 'hangs';
  readonly error: unknown;
  readonly atMs: number;
}

export interface Run {
  readonly seed: number;
  readonly size: number;
  readonly fault: Fault;
  /** The rank at fault, and for a cut or a drop the other end. */
  readonly culprit: number;
  readonly other: number;
  readonly faultMs: number;
  readonly outcomes: readonly Outcome[];
  readonly timersLeft: number;
  readonly droppedFrames: number;
  readonly communicators: readonly Communicator[];
}

/** Changes the groups that the programs use: for seeded defects. */
export interface SimulationOptions {
  readonly fault?: Fault;
  readonly spoil?: (group: Group, rank: number) => Group;
  readonly wrap?: (wire: Wire, self: number) => Wire;
}

const VIEW = 5;
const RUN_ID = 77;
/** Far beyond every deadline. */
const HANGS_MS = 1_000_000;

/** A World whose timers wait while the rank is frozen; its clock goes on, as a tab's does. */
function frozenWorld(world: VirtualWorld, frozenUntil: () => number): World {
  const timer = (delayMs: number, fire: () => void): (() => void) => {
    let cancel = world.timer(delayMs, function due() {
      if (frozenUntil() > world.now()) cancel = world.timer(frozenUntil() - world.now(), due);
      else fire();
    });
    return () => cancel();
  };
  return { now: () => world.now(), timer, randomBytes: (length) => world.randomBytes(length) };
}

/** What the network does with one direction of one lane: delay in order, hold while an end is frozen, and the fault. */
function networked(
  wire: Wire,
  world: VirtualWorld,
  delayMs: () => number,
  free: () => number,
  meddle: (message: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>[],
): Wire {
  let last = 0;
  const later = (deliver: () => void): void => {
    const due = (last = Math.max(last, world.now() + delayMs()));
    const arrive = (): void => {
      if (free() > world.now()) world.timer(free() - world.now(), arrive);
      else deliver();
    };
    world.timer(due - world.now(), arrive);
  };
  const slow = tapped(wire, (message, pass) => {
    for (const sent of meddle(message.slice())) later(() => pass(sent));
  });
  // A close follows what was sent before it.
  return Object.defineProperty(slow, 'close', { value: () => later(() => wire.close()) });
}

export async function simulate(seed: number, options: SimulationOptions = {}): Promise<Run> {
  const d = dice(seed);
  const world = new VirtualWorld(seed);
  const size = 2 + d.below(5);
  const fault = options.fault ?? (d.below(10) < 3 ? 'none' : FAULTS[1 + d.below(FAULTS.length - 1)]);
  const culprit = d.below(size);
  const other = (culprit + 1 + d.below(size - 1)) % size;
  const faultMs = d.below(2) ? d.below(300) : d.below(30);
  const freezeMs = fault === 'freeze short' ? 100 + d.below(3500) : 10_000 + d.below(d.below(2) ? 10_000 : 600_000);
  const frozen = (rank: number): number =>
    fault.startsWith('freeze') && rank === culprit && world.now() >= faultMs ? faultMs + freezeMs : 0;
  const slow = d.below(4) === 0 ? 200 : 20;
  const lanes = Array.from({ length: size }, () => new Map<number, Lanes>());
  const pairs: { pair: LoopbackPair; a: number; b: number }[] = [];
  let meddled = false;

  const meddle = (
    self: number,
    peer: number,
    lane: keyof Lanes,
  ): ((message: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>[]) => {
    let held: Uint8Array<ArrayBuffer> | undefined;
    return (message) => {
      const active = world.now() >= faultMs;
      const [from, to] = [self === culprit, peer === other];
      if (fault === 'cut one way' && from && to && active) return [];
      if (fault === 'garbage' && from && to && active && lane !== 'control' && !meddled) {
        meddled = true;
        return [d.bytes(40 + d.below(30)), message];
      }
      if (fault === 'drop' && from && to && active && lane !== 'control' && !meddled) {
        meddled = true;
        return [];
      }
      if (fault === 'swap' && from && to && active && lane !== 'control' && !meddled) {
        if (!held) {
          held = message;
          return [];
        }
        meddled = true;
        return [message, held];
      }
      return [message];
    };
  };

  for (let a = 0; a < size; a++) {
    for (let b = a + 1; b < size; b++) {
      const [control, bulk] = [loopbackPair(), loopbackPair()];
      // Half of the runs have small messages on a lane of their own.
      const latency = seed % 2 === 0 ? loopbackPair() : undefined;
      for (const pair of [control, bulk, ...(latency ? [latency] : [])]) pairs.push({ pair, a, b });
      for (const [end, self, peer] of [
        [0, a, b],
        [1, b, a],
      ] as const) {
        const through = (wire: Wire, lane: keyof Lanes): Wire => {
          const base = 1 + d.below(slow);
          const wrapped = networked(
            wire,
            world,
            () => base + d.below(slow),
            () => Math.max(frozen(self), frozen(peer)),
            meddle(self, peer, lane),
          );
          return options.wrap ? options.wrap(wrapped, self) : wrapped;
        };
        lanes[self].set(peer, {
          control: through(control.ends[end], 'control'),
          bulk: through(bulk.ends[end], 'bulk'),
          ...(latency ? { latency: through(latency.ends[end], 'latency') } : {}),
        });
      }
    }
  }
  const communicators = lanes.map((own, rank) =>
    createCommunicator(rank, own, {
      run: RUN_ID,
      view: VIEW,
      world: frozenWorld(world, () => frozen(rank)),
      deadlines: { silentMs: 6000, receiveMs: 15_000, operationMs: 60_000 },
    }),
  );
  ghosts(lanes, d);
  if (fault === 'kill')
    world.timer(faultMs, () => {
      for (const { pair, a, b } of pairs) if (a === culprit || b === culprit) pair.cut('the tab was closed');
    });

  const program = planOf(d, size);
  const outcomes: Outcome[] = [];
  for (const [rank, own] of communicators.entries()) {
    const group = options.spoil ? options.spoil(own, rank) : own;
    const stop = fault === 'stuck' && rank === culprit ? 1 + (seed % (program.length - 1)) : Infinity;
    const end = (state: Outcome['state'], error?: unknown): void => {
      outcomes[rank] = { state, error, atMs: world.now() };
    };
    runProgram(group, own, program, stop, world).then(
      (right) => end(right ? 'right' : 'wrong'),
      (error: unknown) => end('failed', error),
    );
  }
  const settled = (): boolean => lanes.every((_, rank) => outcomes[rank] !== undefined);
  while (!settled() && world.now() < HANGS_MS) await world.advance(100);
  for (const rank of lanes.keys()) outcomes[rank] ??= { state: 'hangs', error: undefined, atMs: world.now() };
  const droppedFrames = communicators.reduce(
    (n, own) => n + [...own.links.values()].reduce((m, link) => m + link.stats.dropped, 0),
    0,
  );
  for (const own of communicators) own.leave();
  // What is under way arrives, also at a frozen rank; then nothing may be left.
  await world.advance(2000 + Math.max(0, faultMs + freezeMs - world.now()));
  return {
    seed,
    size,
    fault,
    culprit,
    other,
    faultMs,
    outcomes,
    timersLeft: world.pending,
    droppedFrames,
    communicators,
  };
}

/**
 * Frames of the last view, well formed and addressed to the first operations: they must be dropped, whenever they come.
 */
function ghosts(lanes: readonly ReadonlyMap<number, Lanes>[], d: Dice): void {
  for (const own of lanes) {
    for (const { bulk } of own.values()) {
      const payload = d.bytes(4 * (1 + d.below(20)));
      bulk.send(
        encodeFrame({
          ...linkFrame('data', RUN_ID, VIEW - 1, payload),
          group: 0,
          seq: d.below(3),
          kind: 'all-reduce',
          total: payload.length,
        }),
      );
    }
  }
}

type Plan = readonly {
  readonly call: number;
  readonly count: number;
  readonly salt: number;
  readonly wait: boolean;
  readonly thinkMs: number;
}[];

function planOf(d: Dice, size: number): Plan {
  return Array.from({ length: 3 + d.below(5) }, () => ({
    call: d.below(CALLS.length),
    count: d.below(8) === 0 ? 30_000 + d.below(60_000) : d.below(3) ? d.below(300) : size * d.below(3) + d.below(2),
    salt: d.below(1000),
    wait: d.below(3) > 0,
    thinkMs: d.below(3) ? 0 : d.below(200),
  }));
}

/**
 * Issues the plan's operations, some of them several at once; every result is compared. Stops calling before operation
 * `stop`.
 */
async function runProgram(
  group: Group,
  own: Communicator,
  plan: Plan,
  stop: number,
  world: VirtualWorld,
): Promise<boolean> {
  const running: Promise<boolean>[] = [];
  const drain = async (): Promise<boolean> => (await Promise.all(running.splice(0))).every((right) => right);
  const sub = own.subgroup(own.ranks.toReversed())!;
  for (const [n, { call, count, salt, wait, thinkMs }] of plan.entries()) {
    if (n === stop)
      return new Promise((_, reject) => {
        void own.failed.then(reject);
      });
    if (thinkMs > 0)
      await new Promise<void>((resolve) => {
        world.timer(thinkMs * (1 + ((group.rank + salt) % 3)), resolve);
      });
    running.push(CALLS[call](salt % 5 === 0 ? sub : group, count, salt));
    if (wait && !(await drain())) return false;
  }
  if (!(await drain())) return false;
  // Nobody leaves before all have everything.
  for (let i = 0; i < 2; i++) if (!(await CALLS[0](group, 0, 0))) return false;
  return true;
}

/**
 * How long after its fault a run may last: a close at once, silence 6 s, a receive 15 s; a tick of the heartbeat, the
 * delays, and where the fault waits for a call, the plan.
 */
const LIMIT_MS: Readonly<Record<Fault, number>> = {
  none: Infinity,
  'freeze short': Infinity,
  kill: 1500,
  'freeze long': 8000,
  'cut one way': 8500,
  stuck: 30_000,
  garbage: 15_000,
  swap: 30_000,
  drop: 30_000,
};

/** What is wrong with a run, or undefined. */
export function verdict({ fault, culprit, other, faultMs, outcomes, timersLeft }: Run): string | undefined {
  if (timersLeft > 0) return `${timersLeft} timers are left`;
  for (const [rank, { state, error, atMs }] of outcomes.entries()) {
    if (state === 'hangs' || state === 'wrong') return `rank ${rank} ${state}`;
    const faulty = rank === culprit;
    if (state !== 'failed') continue;
    if (!(error instanceof PeerError)) return `rank ${rank} failed with ${String(error)}`;
    if (fault === 'none' || fault === 'freeze short')
      return `rank ${rank} failed though nothing is broken: ${error.message}`;
    if (faulty && fault !== 'stuck') continue;
    const blamed: readonly number[] = fault === 'cut one way' ? [culprit, other] : [culprit];
    // A message lost by a wire that promises to lose none: whoever waits longest is named, but the run ends.
    if (fault !== 'drop' && fault !== 'swap' && !blamed.includes(error.culprit))
      return `rank ${rank} blames rank ${error.culprit} for the ${fault} of rank ${culprit}: ${error.message}`;
    if (atMs > faultMs + LIMIT_MS[fault]) return `rank ${rank} noticed only after ${atMs - faultMs} ms`;
  }
  return undefined;
}
