// A rank that is lost at any message of a step: those that are left have a state in common that all of them can go back
// to, and it is, byte for byte, that of a run in which nothing happened.

import { afterEach, describe, expect, test, vi } from 'vitest';
import { PeerError } from '../../src/base/errors.ts';
import type { Range } from '../../src/device/device.ts';
import { readRunFiles } from '../../src/cli/verify/run-folder.ts';
import { CommitPoint } from '../../src/train/commit/commit-point.ts';
import type { Link } from '../../src/transport/transport.ts';
import { goldenConfig, goldenModel } from '../support/local-run.ts';
import { sample } from '../support/sample.ts';
import { allOf, onTrainers } from '../support/trainer-lab.ts';
import type { LabRank } from '../support/trainer-lab.ts';

afterEach(() => vi.restoreAllMocks());

const files = readRunFiles(goldenModel('gpt2-tiny'));
const STEPS = 2;

/** All weights and moments of a rank, and its counts. */
async function stateOf({ trainer, device }: LabRank): Promise<string> {
  const ranges: readonly Range[] = trainer.sync.state;
  const bytes = await device.submit([], ranges);
  const words = bytes.map((part) => Buffer.from(part).toString('base64'));
  return [trainer.step, trainer.updates, trainer.momentBound, ...words].join(' ');
}

const config = (layout: string) => goldenConfig('gpt2-tiny', layout);

/** By rank: its state after 0, 1, ... steps; and how many messages it sends up to the end of STEPS + 1 of them. */
async function undisturbed(layout: string) {
  return allOf(
    await onTrainers(
      config(layout),
      async (rank) => {
        const record = vi.spyOn(rank.trainer.options.ledger, 'record');
        const states = [await stateOf(rank)];
        const messages: number[] = [];
        for (let step = 0; step <= STEPS; step++) {
          await rank.trainer.trainStep();
          states.push(await stateOf(rank));
          messages.push(record.mock.calls.length);
        }
        return { states, messages };
      },
      { files },
    ),
  );
}

interface Left {
  readonly rank: number;
  /** Steps done, the later first, and the states that they are of. */
  readonly held: readonly (readonly [number, string])[];
}

/** For a rank that falls silent after `count` messages: what its links do from then on, and when that begins. */
function silence(count: number) {
  let sent = 0;
  let begins = (): void => {};
  const begun = new Promise<void>((resolve) => (begins = resolve));
  const link = (of: Link): Link =>
    new Proxy(of, {
      get(target, name) {
        if (name === 'send')
          return (...given: Parameters<Link['send']>) => {
            if (sent++ < count) return target.send(...given);
            begins();
            return target.failed.then((error) => Promise.reject(error));
          };
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  return { link, begun };
}

/** Long enough for the others to do all that they can without it; only turns of the event loop count. */
const TURNS = 300;

/** What the ranks hold that are left when `victim` is lost after `count` messages. */
async function lostAfter(layout: string, victim: number, count: number): Promise<readonly Left[]> {
  const { link, begun } = silence(count);
  const results = await onTrainers(
    config(layout),
    async (rank): Promise<Left | undefined> => {
      const { trainer } = rank;
      if (rank.rank === victim)
        void begun.then(async () => {
          for (let turn = 0; turn < TURNS; turn++) await new Promise((resolve) => setImmediate(resolve));
          rank.mesh.abort(new PeerError(victim, 'crashed', 'the plug was pulled'));
        });
      let failed: unknown;
      for (let step = 0; step <= STEPS + 1 && failed === undefined; step++)
        await trainer.trainStep().catch((error: unknown) => (failed = error));
      expect(String(failed)).toMatch(new RegExp(`rank ${victim} .*the plug was pulled`));
      if (rank.rank === victim) throw failed as Error;
      const held: (readonly [number, string])[] = [];
      for (const steps of trainer.restorable) {
        trainer.restore(steps);
        held.push([steps, await stateOf(rank)]);
      }
      return { rank: rank.rank, held };
    },
    {
      files,
      change: (options) => ({ ...options, restorable: true }),
      link: (own, rank) => (rank === victim ? link(own) : own),
    },
  );
  return results.filter((result): result is Left => !(result instanceof Error) && result !== undefined);
}

/** The latest state that all of them hold. */
function common(left: readonly Left[]): number | undefined {
  return left[0]?.held
    .map(([steps]) => steps)
    .find((steps) => left.every(({ held }) => held.some(([s]) => s === steps)));
}

const CASES = [
  ['dp=2,pp=2', 3],
  ['dp=4', 1],
  ['dp=2,tp=2', 2],
  ['pp=2,tp=2', 1],
] as const;

describe.each(sample(CASES, 2))('%s, rank %i is lost', (layout, victim) => {
  test('at any message of a step: the others go back to the same step, with the bytes that it had', async () => {
    const reference = await undisturbed(layout);
    const { messages } = reference[victim]!;
    const seen = new Set<number>();
    for (let at = messages[STEPS - 2] ?? 0; at < messages[STEPS]!; at++) {
      const left = await lostAfter(layout, victim, at);
      expect(left).toHaveLength(reference.length - 1);
      const steps = common(left);
      expect(steps, `message ${at}: ${left.map(({ held }) => held.map(([s]) => s).join('/')).join(' ')}`).toBeDefined();
      seen.add(steps!);
      for (const { rank, held } of left)
        for (const [done, state] of held) expect(state === reference[rank]!.states[done]).toBe(true);
    }
    // The messages of two steps: at least two different states were gone back to.
    expect(seen.size).toBeGreaterThanOrEqual(2);
  }, 300_000);
});

describe('the check finds', () => {
  const spoiled = async (): Promise<{ readonly apart: number; readonly wrong: number }> => {
    const [layout, victim] = ['dp=4', 1] as const;
    const reference = await undisturbed(layout);
    const { messages } = reference[victim]!;
    let [apart, wrong] = [0, 0];
    for (let at = messages[STEPS - 2] ?? 0; at < messages[STEPS]!; at++) {
      const left = await lostAfter(layout, victim, at);
      if (common(left) === undefined) apart++;
      if (left.some(({ rank, held }) => held.some(([done, state]) => state !== reference[rank]!.states[done]))) wrong++;
    }
    return { apart, wrong };
  };

  test('a state that is not kept', async () => {
    const begin = CommitPoint.prototype.begin;
    vi.spyOn(CommitPoint.prototype, 'begin').mockImplementation(function (this: CommitPoint) {
      const device = (this as unknown as { device: { copy(): void } }).device;
      const copy = device.copy.bind(device);
      device.copy = () => undefined;
      begin.call(this);
      device.copy = copy;
    });
    expect((await spoiled()).wrong).toBeGreaterThan(0);
  }, 300_000);

  test('a state that is given up before the others are known to have the next', async () => {
    const end = CommitPoint.prototype.end;
    vi.spyOn(CommitPoint.prototype, 'end').mockImplementation(function (this: CommitPoint, steps) {
      end.call(this, steps);
      this.reset(steps);
    });
    expect((await spoiled()).apart).toBeGreaterThan(0);
  }, 300_000);
});
