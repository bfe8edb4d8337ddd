// A run that is paused, or over and still there: all ranks wait at the same step, serve what is wanted, and go on
// together. On the references, in this process.

import { describe, expect, it } from 'vitest';
import { worldSize } from '../../src/base/axis.ts';
import { PeerError } from '../../src/base/errors.ts';
import { realWorld } from '../../src/base/world.ts';
import { createLedger } from '../../src/collectives/ledger.ts';
import { createMesh } from '../../src/collectives/mesh.ts';
import { createCpuDevice } from '../../src/device/cpu.ts';
import { checkAsk, MOST_PROMPT_BYTES, shareAsks } from '../../src/train/beside/ask.ts';
import type { SampleAsk } from '../../src/train/beside/ask.ts';
import { openCheckpoint } from '../../src/train/resume/open-checkpoint.ts';
import { prepareLanguage } from '../../src/train/tasks/language/prepare.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { runRank } from '../../src/train/run.ts';
import type { RunEvent } from '../../src/train/run.ts';
import { loopbackMesh } from '../../src/transport/loopback.ts';
import { WishDesk } from '../../workers/wish-desk.ts';

const TEXT =
  'call me ishmael. some years ago, never mind how long precisely, having little or no money in my purse. '.repeat(8);
const GREEDY: SampleAsk = { prompt: 'call me', temperature: 0, topK: 0, tokens: 4 };

class Lab {
  readonly desks: readonly WishDesk[];
  readonly events: readonly RunEvent[][];
  readonly over: Promise<unknown>;
  /** How each rank ended. */
  readonly ends: readonly Promise<void>[];
  readonly waiting: readonly { is: boolean }[];
  readonly #nodes: ReturnType<typeof loopbackMesh>;
  #check = (): void => {};

  constructor(
    layout: string,
    { steps = 1000, stays = false, more = [] as readonly (readonly [string, unknown])[] } = {},
  ) {
    const config = parseRunConfig([
      ['model', 'gpt2-nano'],
      ['data', 'a.txt'],
      ['context', 8],
      ['layout', layout],
      ['batch', 4],
      ['steps', steps],
      ['evalEvery', 0],
      ['sampleEvery', 0],
      ...more,
    ]);
    const prepared = prepareLanguage(config, { text: TEXT });
    const size = worldSize(config.layout);
    this.#nodes = loopbackMesh(size, realWorld, { link: { silentMs: 1e9, heartbeatMs: 1e8 } });
    this.desks = Array.from({ length: size }, () => new WishDesk());
    this.events = this.desks.map(() => []);
    this.waiting = this.desks.map(() => ({ is: false }));
    this.ends = this.#nodes.map(async ({ rank, links }) => {
      const ledger = createLedger();
      const mesh = createMesh({ layout: config.layout, rank, links, ledger });
      const desk = this.desks[rank]!;
      try {
        await runRank({
          device: createCpuDevice(),
          mesh,
          ledger,
          world: realWorld,
          config,
          prepared,
          sampleTokens: 3,
          stays,
          requests: () => desk.take(),
          takeAsk: () => desk.takeAsk(),
          whileWaiting: (paused) => desk.next(paused),
          onWait: (is) => {
            this.waiting[rank]!.is = is;
            this.#check();
          },
          onEvent: (event) => {
            if (event.kind === 'done') desk.over();
            this.events[rank]!.push(event);
            this.#check();
          },
        });
      } catch (error) {
        mesh.abort(error instanceof PeerError ? error : new PeerError(rank, 'crashed', String(error)));
        throw error;
      }
    });
    this.over = Promise.all(this.ends);
    this.over.catch(() => {});
  }

  /** Resolves when `fits` holds after some event; rejects when the run ends with an error first. */
  until(fits: () => boolean): Promise<void> {
    return Promise.race([
      new Promise<void>((resolve) => {
        this.#check = () => {
          if (fits()) resolve();
        };
        this.#check();
      }),
      this.over.then(() => {
        if (!fits()) throw new Error('the run ended before');
      }),
    ]);
  }

  paused(): Promise<void> {
    return this.until(() => this.waiting.every(({ is }) => is));
  }

  steps(rank = 0): number {
    return this.of(rank, 'step').length;
  }

  of<K extends RunEvent['kind']>(rank: number, kind: K): readonly Extract<RunEvent, { kind: K }>[] {
    return this.events[rank]!.filter((event): event is Extract<RunEvent, { kind: K }> => event.kind === kind);
  }

  /** Ends all wires of a rank, as a tab that is gone. */
  kill(rank: number): void {
    this.#nodes[rank]!.kill();
  }

  async stop(): Promise<void> {
    for (const desk of this.desks) desk.request({ stop: true });
    await this.over;
    for (const node of this.#nodes) node.leave();
  }
}

describe.each(['dp=1', 'dp=2,pp=2', 'tp=2'])('a pause of %s', (layout) => {
  it('holds all ranks at one step, where they write and save, and goes on from there', async () => {
    const lab = new Lab(layout);
    const last = lab.desks.length - 1;
    await lab.until(() => lab.steps() >= 2);
    for (const desk of lab.desks) desk.pause();
    await lab.paused();
    const step = lab.steps();
    expect(lab.events.map((_, rank) => lab.steps(rank))).toEqual(lab.desks.map(() => step));
    // Rank 0 wants a text, and the last rank another; rank 0 hears that there is one.
    lab.desks[0]!.request({ sample: GREEDY });
    await lab.until(() => lab.of(last, 'sample').length === 1);
    lab.desks[last]!.request({ sample: { ...GREEDY, prompt: 'money' } });
    if (last > 0) lab.desks[0]!.request({});
    await lab.until(() => lab.events.every((_, rank) => lab.of(rank, 'sample').length === 2));
    const samples = lab.of(0, 'sample');
    expect(samples.map(({ prompt, step: at }) => [prompt, at])).toEqual([
      ['call me', step],
      ['money', step],
    ]);
    for (const { text } of samples) expect(text).toHaveLength(4);
    expect(lab.of(last, 'sample')).toEqual(samples);
    lab.desks[0]!.request({ save: true });
    await lab.until(() => lab.of(0, 'checkpoint').length === 1);
    expect(openCheckpoint(lab.of(0, 'checkpoint')[0]!.bytes).step).toBe(step);
    expect(lab.steps()).toBe(step);
    for (const desk of lab.desks) desk.resume();
    await lab.until(() => lab.steps() > step + 1);
    await lab.stop();
    expect(lab.of(last, 'done')).toEqual([expect.objectContaining({ stopped: true, steps: lab.steps() })]);
  });

  it('is ended by a stop, and a pause of one rank that nobody else knows holds nobody', async () => {
    const lab = new Lab(layout);
    const last = lab.desks.length - 1;
    if (last > 0) {
      lab.desks[last]!.pause();
      await lab.until(() => lab.steps() >= 4);
    }
    for (const desk of lab.desks) desk.pause();
    await lab.paused();
    await lab.stop();
    expect(lab.of(0, 'done')[0]).toMatchObject({ stopped: true });
  });
});

describe('a peer that goes while all wait', () => {
  it.each([
    ['in a pause', false],
    ['after the last step', true],
  ] as const)('%s ends the run of rank 0 too', async (_, stays) => {
    const lab = new Lab('dp=4', stays ? { steps: 2, stays } : {});
    if (!stays) {
      await lab.until(() => lab.steps() >= 1);
      for (const desk of lab.desks) desk.pause();
    }
    await lab.paused();
    lab.kill(2);
    for (const end of lab.ends.slice(0, 2)) await expect(end).rejects.toMatchObject({ culprit: 2, evidence: 'closed' });
  });
});

it('writes and saves after the last step, as long as it is there', async () => {
  const lab = new Lab('pp=2', { steps: 2, stays: true });
  await lab.until(() => lab.waiting.every(({ is }) => is));
  expect(lab.of(0, 'done')[0]).toMatchObject({ steps: 2, stopped: false });
  lab.desks[0]!.request({ sample: GREEDY });
  lab.desks[0]!.request({ sample: { ...GREEDY, prompt: '' } });
  await lab.until(() => lab.of(1, 'sample').length === 2);
  expect(lab.of(1, 'sample').map(({ prompt }) => prompt)).toEqual(['call me', undefined]);
  lab.desks[0]!.request({ save: true });
  await lab.until(() => lab.of(0, 'checkpoint').length === 1);
  expect(openCheckpoint(lab.of(0, 'checkpoint')[0]!.bytes).step).toBe(2);
  await lab.stop();
});

it('a prompt of unknown characters is a note, and the run goes on', async () => {
  const lab = new Lab('dp=2');
  lab.desks[1]!.request({ sample: { ...GREEDY, prompt: 'Ж' } });
  await lab.until(() => lab.of(0, 'note').length === 1 && lab.of(1, 'note').length === 1);
  expect(lab.of(0, 'note')[0]!.text).toMatch(/^there is no sample \(.*'?.*Ж/);
  const step = lab.steps();
  await lab.until(() => lab.steps() > step);
  await lab.stop();
});

it('temperature 0 writes the same text in every layout', async () => {
  const written = async (layout: string): Promise<string> => {
    const lab = new Lab(layout);
    lab.desks[0]!.request({ sample: GREEDY });
    await lab.until(() => lab.of(0, 'sample').length === 1);
    await lab.stop();
    return lab.of(0, 'sample')[0]!.text;
  };
  expect(await written('pp=2')).toBe(await written('dp=1'));
});

describe('what somebody asks for', () => {
  it.each([
    [{ temperature: -1 }, 'temperature: expected a number from 0 to 10, got -1'],
    [{ temperature: NaN }, 'temperature'],
    [{ topK: 1.5 }, 'top-k: expected a whole number'],
    [{ tokens: 0 }, 'tokens: expected a whole number from 1 to 1000, got 0'],
    [
      { prompt: 'é'.repeat(MOST_PROMPT_BYTES) },
      `prompt: has ${2 * MOST_PROMPT_BYTES} bytes; expected at most ${MOST_PROMPT_BYTES}`,
    ],
  ])('%o is refused', (wrong, reason) => {
    expect(() => checkAsk({ ...GREEDY, ...wrong })).toThrow(reason);
  });

  it('a peer that asks for what cannot be is accused by its rank', async () => {
    const nodes = loopbackMesh(2, realWorld, { link: { silentMs: 1e9, heartbeatMs: 1e8 } });
    const [honest, liar] = nodes.map(({ rank, links }) =>
      createMesh({ layout: parseRunConfig([['layout', 'dp=2']]).layout, rank, links, ledger: createLedger() }),
    );
    const lies = shareAsks(liar!.world, { ...GREEDY, prompt: '', tokens: 4e9 }).catch((error: unknown) => error);
    await expect(shareAsks(honest!.world, undefined)).rejects.toThrow(
      /rank 1 corrupt: it asks for a sample that cannot be \(tokens: expected a whole number from 1 to 1000/,
    );
    await lies;
    for (const node of nodes) node.leave();
  });
});
