// A rank that takes part in one run after another: what it keeps of the last one, that it goes on as fresh ranks would,
// bit for bit, and that it does not grow. Ranks as they are in a worker, on the references, over ports.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { describeFile } from '../../src/cluster/files/shared-file.ts';
import type { Device, MemoryTag } from '../../src/device/device.ts';
import { formatRunConfig, parseRunConfig } from '../../src/train/run-config.ts';
import type { RankEvent, RankPreparation } from '../../workers/protocol.ts';
import { Rank } from '../../workers/rank.ts';
import { WorkerShare } from '../../workers/worker-share.ts';

/** What the devices of this file have done, in the order that they were made. */
interface Made {
  readonly device: Device;
  prepared: number;
  /** Allocated so far. */
  readonly allocated: Map<MemoryTag, number>;
  readonly alive: Set<unknown>;
}
const made = vi.hoisted(() => [] as Made[]);
/** Of all views. */
const meshes = vi.hoisted(() => [] as WeakRef<object>[]);
/** Defects that a test seeds. */
const seeded = vi.hoisted(() => ({ staleGroups: false }));

vi.mock('../../src/device/cpu.ts', async (original) => {
  const real = await original<typeof import('../../src/device/cpu.ts')>();
  return {
    ...real,
    createCpuDevice: (): Device => {
      const inner = real.createCpuDevice();
      const own: Made = { device: inner, prepared: 0, allocated: new Map(), alive: new Set() };
      made.push(own);
      return {
        ...inner,
        prepare(...call) {
          own.prepared++;
          return inner.prepare(...call);
        },
        alloc(bytes, tag, label) {
          const buffer = inner.alloc(bytes, tag, label);
          own.allocated.set(tag, (own.allocated.get(tag) ?? 0) + 1);
          own.alive.add(buffer);
          return buffer;
        },
        free(buffer) {
          own.alive.delete(buffer);
          inner.free(buffer);
        },
      };
    },
  };
});

vi.mock('../../src/collectives/mesh.ts', async (original) => {
  const real = await original<typeof import('../../src/collectives/mesh.ts')>();
  return {
    ...real,
    createMesh: (...call: Parameters<typeof real.createMesh>) => {
      const mesh = real.createMesh(...call);
      meshes.push(new WeakRef(mesh));
      return mesh;
    },
  };
});

vi.mock('../../src/collectives/groups/rebindable.ts', async (original) => {
  const real = await original<typeof import('../../src/collectives/groups/rebindable.ts')>();
  return {
    ...real,
    rebindableMesh: (mesh: Parameters<typeof real.rebindableMesh>[0]) => {
      const rebindable = real.rebindableMesh(mesh);
      return seeded.staleGroups ? Object.assign(rebindable, { rebind: () => undefined }) : rebindable;
    },
  };
});

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const STEPS = 8;
const TEXT = 'it is not down in any map; true places never are. '.repeat(40);
const config = (layout: string, change: Readonly<Record<string, string>> = {}): Record<string, unknown> =>
  formatRunConfig(
    parseRunConfig(
      Object.entries({
        model: 'gpt2-nano',
        data: 'words.txt',
        context: '16',
        layout,
        microbatches: '2',
        batch: '8',
        steps: String(STEPS),
        evalEvery: '2',
        sampleEvery: '2',
        checkpointEvery: '2',
        ...change,
      }),
    ),
  );

type Told<K extends RankEvent['kind']> = Extract<RankEvent, { readonly kind: K }>;

/** A rank as its page has it. */
class Seat {
  readonly rank = new Rank(new WorkerShare());
  readonly device: Made;
  /** What the last run's call has resolved to. */
  serves: boolean | undefined;
  #events: RankEvent[] = [];
  #heard = (): void => undefined;

  private constructor(device: Made) {
    this.device = device;
  }

  static async open(): Promise<Seat> {
    const seat = new Seat({} as Made);
    await seat.rank.open('cpu');
    return Object.assign(seat, { device: made.at(-1)! });
  }

  /** Runs in a view; resolves when the rank can serve the next one. */
  async run(place: number, view: number): Promise<void> {
    this.#events = [];
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }: MessageEvent<RankEvent>) => {
      this.#events.push(data);
      this.#heard();
    };
    const setup = { rank: place, run: 7, view, wantGradients: false, wantModel: true, copies: true, sampleTokens: 4 };
    this.serves = await this.rank.start(setup, port2);
    await this.until((event) => event.kind === 'done' || event.kind === 'failed');
    port1.close();
  }

  until(fits: (event: RankEvent) => boolean): Promise<RankEvent> {
    return new Promise((resolve) => {
      this.#heard = () => {
        const found = this.#events.find(fits);
        if (found) resolve(found);
      };
      this.#heard();
    });
  }

  /** Of the last run. */
  all<K extends RankEvent['kind']>(kind: K): readonly Told<K>[] {
    return this.#events.filter((event): event is Told<K> => event.kind === kind);
  }
}

/**
 * Joins seats, in the order of their ranks, for a run of `config` that goes on from a checkpoint, which lies on the
 * first of them alone; `lies`: or on none.
 */
async function join(
  seats: readonly Seat[],
  wanted: Record<string, unknown>,
  checkpoint?: Uint8Array<ArrayBuffer>,
  lies = true,
): Promise<void> {
  const file = checkpoint && (await describeFile('checkpoint', checkpoint));
  for (const [place, { rank }] of seats.entries()) {
    const preparation: RankPreparation = {
      config: wanted,
      files: { text: TEXT },
      ...(file && {
        shared: {
          files: [{ ...file, field: 'checkpoint' as const }],
          held: new Map(lies && place === 0 ? [[file.hash, checkpoint!]] : []),
          names: seats.map((_, i) => `tab ${i}`),
        },
      }),
    };
    await rank.prepare(preparation);
  }
  for (let a = 0; a < seats.length; a++)
    for (let b = 0; b < a; b++) {
      const [control, bulk] = [new MessageChannel(), new MessageChannel()];
      const handle = (port: MessagePort) => ({ kind: 'port', port, via: 'message-port' }) as const;
      await seats[a]!.rank.adopt(b, handle(control.port1), handle(bulk.port1));
      await seats[b]!.rank.adopt(a, handle(control.port2), handle(bulk.port2));
    }
}

let views = 0;
/** All of them to the end, whatever that is. */
async function runAll(seats: readonly Seat[]): Promise<void> {
  const view = ++views;
  await Promise.all(seats.map((seat, place) => seat.run(place, view)));
}

async function openAll(count: number): Promise<Seat[]> {
  const seats: Seat[] = [];
  while (seats.length < count) seats.push(await Seat.open());
  return seats;
}

interface Result {
  readonly numbers: readonly (readonly [number, number, number])[];
  readonly evaluations: readonly unknown[];
  readonly samples: readonly unknown[];
  readonly model: Uint8Array<ArrayBuffer>;
}

/** What the first rank of a run that went to its end has told. */
function resultOf(first: Seat): Result {
  expect(first.all('failed')).toEqual([]);
  return {
    numbers: first.all('step').map(({ metrics: { step, loss, gradNorm } }) => [step, loss, gradNorm] as const),
    evaluations: first.all('evaluation'),
    samples: first.all('sample'),
    model: first.all('model')[0]!.bytes,
  };
}

/** What fresh ranks make of the same checkpoint. */
async function fresh(wanted: Record<string, unknown>, ranks: number, checkpoint: Uint8Array<ArrayBuffer>) {
  const seats = await openAll(ranks);
  await join(seats, wanted, checkpoint);
  await runAll(seats);
  expect(seats.map((seat) => seat.all('ready')[0]!.kept)).toEqual(seats.map(() => 'nothing'));
  return resultOf(seats[0]!);
}

/** The last checkpoint that one of these has, from rank 0 or as its copy. */
function checkpointOf(seats: readonly Seat[]): { readonly step: number; readonly bytes: Uint8Array<ArrayBuffer> } {
  return seats
    .flatMap((seat) => [
      ...seat.all('checkpoint'),
      ...seat.all('copy').map(({ step, content }) => ({ step, bytes: content })),
    ])
    .reduce((a, b) => (b.step > a.step ? b : a));
}

/** Trains until `leaver` goes without a word after its step `after`. */
async function trainAndLose(
  seats: readonly Seat[],
  wanted: Record<string, unknown>,
  leaver: number,
  after: number,
  from?: Uint8Array<ArrayBuffer>,
): Promise<void> {
  await join(seats, wanted, from);
  const over = runAll(seats);
  await seats[leaver]!.until((event) => event.kind === 'step' && event.metrics.step >= after);
  seats[leaver]!.rank.leave();
  await over;
  for (const [place, seat] of seats.entries())
    if (place !== leaver) expect(seat.all('failed')[0]).toMatchObject({ name: 'PeerError', culprit: leaver });
}

/** Trains until somebody stops the run, which makes a checkpoint; `identify`: each rank hears what it is. */
async function trainAndStop(seats: readonly Seat[], wanted: Record<string, unknown>, identify: boolean) {
  await join(seats, wanted);
  const over = runAll(seats);
  await seats[0]!.until((event) => event.kind === 'step' && event.metrics.step >= 2);
  seats[0]!.rank.request({ stop: true, save: true });
  await over;
  const checkpoint = checkpointOf(seats);
  const { hash } = await describeFile('checkpoint', checkpoint.bytes);
  if (identify) for (const seat of seats) seat.rank.identify(checkpoint.step, hash);
  return checkpoint;
}

const done = (seats: readonly Seat[]): unknown[] =>
  seats.map(({ device: { prepared, allocated } }) => [prepared, [...allocated]]);
const kept = (seats: readonly Seat[]): unknown[] => seats.map((seat) => seat.all('ready')[0]!.kept);

afterEach(() => {
  seeded.staleGroups = false;
});

describe('a rank in the next view', () => {
  it.each([
    ['dp=2', 1],
    ['dp=2', 0],
    ['pp=2', 1],
    ['dp=2,pp=2', 2],
    ['sp=2', 1],
    ['tp=2', 1],
  ])(
    '%s without rank %i: the others prepare and allocate nothing, and go on as fresh ones do',
    async (layout, leaver) => {
      const wanted = config(layout);
      const seats = await openAll(layout.includes(',') ? 4 : 2);
      await trainAndLose(seats, wanted, leaver, 3);
      const stayed = seats.filter((_, place) => place !== leaver);
      const { bytes, step } = checkpointOf(stayed);
      const before = done(stayed);
      const next = seats.with(leaver, await Seat.open());
      await join(next, wanted, bytes);
      await runAll(next);
      expect(done(stayed)).toEqual(before);
      expect(kept(next)).toEqual(next.map((_, place) => (place === leaver ? 'nothing' : 'plans')));
      const result = resultOf(next[0]!);
      expect(result.numbers.map(([at]) => at)).toEqual(Array.from({ length: STEPS - step }, (_, i) => step + i));
      expect(result.samples.length).toBeGreaterThan(0);
      expect(result).toEqual(await fresh(wanted, seats.length, bytes));
    },
  );

  it.each([true, false])(
    'keeps weights and moments that are those of the checkpoint, if it knows: %s',
    async (knows) => {
      const wanted = config('dp=2');
      const seats = await openAll(2);
      const { bytes } = await trainAndStop(seats, wanted, knows);
      const next = [seats[0]!, await Seat.open()];
      await join(next, wanted, bytes);
      await runAll(next);
      expect(kept(next)).toEqual([knows ? 'state' : 'plans', 'nothing']);
      expect(resultOf(next[0]!)).toEqual(await fresh(wanted, 2, bytes));
    },
  );

  it('goes on with all that it has when the files of a run did not come', async () => {
    const wanted = config('dp=2');
    const seats = await openAll(2);
    const { bytes } = await trainAndStop(seats, wanted, true);
    await join(seats, wanted, bytes, false);
    await runAll(seats);
    for (const seat of seats) expect(seat.all('failed')[0]).toMatchObject({ name: 'FilesError' });
    expect(seats.map(({ serves }) => serves)).toEqual([true, true]);
    await join(seats, wanted, bytes);
    await runAll(seats);
    expect(kept(seats)).toEqual(['state', 'state']);
    expect(resultOf(seats[0]!)).toEqual(await fresh(wanted, 2, bytes));
  });

  it('says that it serves another, unless it may be to blame for the end of the last', async () => {
    const seats = await openAll(2);
    await trainAndStop(seats, config('dp=2'), false);
    expect(seats.map(({ serves }) => serves)).toEqual([true, true]);
    await join(seats, config('dp=2'));
    await runAll(seats);
    expect(seats.map(({ serves }) => serves)).toEqual([true, true]);
    await trainAndLose(seats, config('dp=2'), 1, 2);
    expect(seats[0]!.serves).toBe(true);
    const wrong = vi.spyOn(seats[0]!.device.device, 'alloc').mockImplementation(() => {
      throw new Error('no room');
    });
    await join([seats[0]!], config('dp=1', { batch: '4' }));
    await runAll([seats[0]!]);
    wrong.mockRestore();
    expect(seats[0]!.serves).toBe(false);
  });

  it('begins from the first weights where nothing is gone on from, also for more steps and other rates', async () => {
    const seats = await openAll(2);
    await trainAndStop(seats, config('dp=2'), true);
    const wanted = config('dp=2', { steps: '5', lr: '0.01', checkpointEvery: '0' });
    const before = done(seats);
    await join(seats, wanted);
    await runAll(seats);
    expect(kept(seats)).toEqual(['plans', 'plans']);
    expect(done(seats)).toEqual(before);
    const others = await openAll(2);
    await join(others, wanted);
    await runAll(others);
    expect(resultOf(seats[0]!)).toEqual(resultOf(others[0]!));
  });

  it('builds its part anew for another rank, layout or network, and has none after the last step', async () => {
    const seats = await openAll(2);
    const { bytes } = await trainAndStop(seats, config('dp=2'), true);
    const swapped = [seats[1]!, seats[0]!];
    await join(swapped, config('dp=2'), bytes);
    await runAll(swapped);
    expect(kept(swapped)).toEqual(['nothing', 'nothing']);
    expect(resultOf(swapped[0]!)).toEqual(await fresh(config('dp=2'), 2, bytes));
    for (const { device } of seats) expect([...device.alive]).toEqual([]);
    for (const wanted of [config('pp=2', { batch: '4' }), config('pp=2', { batch: '4', model: 'llama-nano' })]) {
      await trainAndStop(seats, wanted, true);
      expect(kept(seats)).toEqual(['nothing', 'nothing']);
    }
  });

  it('does not grow over five views, and nothing of them stays', async () => {
    const wanted = config('dp=2', { steps: '1000' });
    const own = await Seat.open();
    const checkpoints: WeakRef<Uint8Array>[] = [];
    const sizes: unknown[] = [];
    let from: Uint8Array<ArrayBuffer> | undefined;
    for (let view = 1; view <= 6; view++) {
      await trainAndLose([own, await Seat.open()], wanted, 1, view * 3, from);
      from = checkpointOf([own]).bytes;
      checkpoints.push(new WeakRef(from));
      sizes.push([own.device.alive.size, Object.values(own.device.device.memory).map(({ now }) => now)]);
    }
    expect(sizes.slice(1)).toEqual(sizes.slice(0, -1));
    made.splice(0);
    // Twice, for what the first frees at its end.
    for (let i = 0; i < 2; i++) {
      await new Promise(setImmediate);
      collect();
    }
    // What the last view went on from, and what it has made.
    expect(checkpoints.map((checkpoint) => checkpoint.deref() !== undefined).slice(0, -2)).toEqual(
      [0, 0, 0, 0].map(() => false),
    );
    // The last is behind the trainer.
    expect(meshes.filter((mesh) => mesh.deref()).length).toBeLessThanOrEqual(1);
  });

  it('SEEDED DEFECT: groups of the view before end the run', async () => {
    seeded.staleGroups = true;
    const wanted = config('dp=2');
    const seats = await openAll(2);
    const { bytes } = await trainAndStop(seats, wanted, true);
    await join(seats, wanted, bytes);
    await runAll(seats);
    for (const seat of seats) expect(seat.all('failed').length).toBe(1);
  });

  it('SEEDED DEFECT: weights that are taken for those of another checkpoint make another model', async () => {
    const wanted = config('dp=2');
    const seats = await openAll(2);
    const { bytes, step } = await trainAndStop(seats, wanted, false);
    const other = bytes.slice();
    const start = 8 + Number(new DataView(other.buffer).getBigUint64(0, true));
    new DataView(other.buffer).setFloat32(start, 0.5, true);
    const { hash } = await describeFile('checkpoint', other);
    seats[0]!.rank.identify(step, hash);
    await join(seats, wanted, other);
    await runAll(seats);
    expect(kept(seats)).toEqual(['state', 'plans']);
    const [got, want] = [resultOf(seats[0]!), await fresh(wanted, 2, other)];
    expect(got.numbers).not.toEqual(want.numbers);
    expect(got.model).not.toEqual(want.model);
  });
});
