// A software adapter that begins at once: what runs first compiles quickly, everything else waits for the steps,
// nothing runs unchecked but that, and what was decided is not measured again.

import { expect, test } from 'vitest';
import { ComputedWronglyError, SelfCheckError } from '../../src/base/errors.ts';
import type { Kernel, Params } from '../../src/device/kernel.ts';
import { LaunchSwap } from '../../src/device/tune/swap.ts';
import type { SwappableLaunch } from '../../src/device/tune/swap.ts';
import { Qualifier } from '../../src/device/tune/qualifier.ts';
import type { QualifierOptions } from '../../src/device/tune/qualifier.ts';
import type { TuneStore } from '../../src/device/tune/store.ts';
import { deviceOf } from '../../src/device/webgpu.ts';
import type { GpuContext } from '../../src/device/webgpu.ts';
import { chooseVariant } from '../../src/device/variant.ts';
import { ClockWorld, fakeDevice, fakeKernel } from '../support/fake-device.ts';
import type { Behaviour } from '../support/fake-device.ts';

const PARAMS = { N: 1000, FACTOR: 2 };

function bench(options: Partial<QualifierOptions> = {}) {
  const world = new ClockWorld();
  const qualifier = new Qualifier({ world, version: 'test', tuneMs: 20_000, later: true, ...options });
  const device = fakeDevice(world, qualifier);
  const plan = (kernel: Kernel, params: Params = PARAMS) => device.qualify!([{ kernel, params, count: 1 }]);
  const begins = (kernel: Kernel, params: Params = PARAMS): string =>
    chooseVariant(kernel, params, device.features, qualifier.choose).variant.name;
  const better = (kernel: Kernel, params: Params = PARAMS): string | undefined =>
    qualifier.better(kernel, params)?.variant;
  /** Slices until nothing is left; how many there were. */
  const improve = async (): Promise<number> => {
    for (let slices = 1; slices < 1000; slices++) if (await qualifier.improve(device)) return slices;
    throw new Error('it never ends');
  };
  return { world, device, qualifier, plan, begins, better, improve };
}

/** `large` is the guess, `small` compiles quickly. */
function twoTiles(large: Partial<Behaviour> = {}, small: Partial<Behaviour> = {}, name = 'fake'): Kernel {
  const kernel = fakeKernel(
    { large: { runMs: 3, compileMs: 175, ...large }, small: { runMs: 9, compileMs: 60, ...small } },
    {},
    name,
  );
  return {
    ...kernel,
    variants: kernel.variants.map((variant) =>
      variant.name === 'small' ? { ...variant, quick: () => true } : variant,
    ),
  };
}

/** A GPU that takes everything and computes nothing. */
function fakeGpu(maxComputeWorkgroupsPerDimension: number): GpuContext {
  const nothing = () => ({});
  const device = {
    limits: { maxBufferSize: 1e9, maxStorageBufferBindingSize: 1e9, maxComputeWorkgroupsPerDimension },
    pushErrorScope: nothing,
    popErrorScope: async () => null,
    createBuffer: nothing,
    createBindGroupLayout: nothing,
    createPipelineLayout: nothing,
    createShaderModule: nothing,
    createBindGroup: nothing,
    createComputePipelineAsync: async () => ({ getBindGroupLayout: nothing }),
  };
  const { adapter, features } = fakeDevice(new ClockWorld());
  const compiling = { asked: 0, done: 0, listeners: new Set() };
  return {
    device,
    adapter,
    features,
    pipelines: new Map(),
    compiling,
    lost: new Promise(() => {}),
    failure: undefined,
  } as unknown as GpuContext;
}

function memoryStore(): TuneStore & { readonly texts: Map<string, string> } {
  const texts = new Map<string, string>();
  return {
    texts,
    async read(key) {
      return texts.get(key);
    },
    async write(key, text) {
      texts.set(key, text);
    },
  };
}

test('nothing is checked, measured or compiled before the first step; then what is faster and right wins', async () => {
  const { plan, begins, better, improve, device } = bench();
  const kernel = twoTiles();
  const { checks, decisions } = await plan(kernel);
  expect([checks, decisions, device.compiled]).toEqual([[], [], []]);
  expect(begins(kernel)).toBe('small');
  expect(better(kernel)).toBe(undefined);
  await improve();
  expect(better(kernel)).toBe('large');
  // Launches of plans that are made meanwhile begin like the others.
  expect(begins(kernel)).toBe('small');
  const certificate = await device.qualify!([]);
  expect(certificate.checks.map(({ variant }) => variant)).toEqual(['small', 'large']);
  expect(certificate.decisions).toMatchObject([{ variant: 'large', default: { variant: 'small' }, complete: true }]);
});

test('the work is done in slices, and the time to measure is one budget for all of them', async () => {
  const variants = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`v${i}`, { runMs: 5, compileMs: 300 }]));
  const kernel = fakeKernel(variants);
  const { plan, qualifier, device, world } = bench({ tuneMs: 2000 });
  await plan(kernel);
  const slices: number[] = [];
  for (let done = false; !done;) {
    const startMs = world.now();
    done = await qualifier.improve(device);
    slices.push(world.now() - startMs);
  }
  // One compile and its measurement, no more.
  expect(Math.max(...slices)).toBeLessThan(100 + 600);
  expect(slices.length).toBeGreaterThan(3);
  expect(slices.reduce((sum, ms) => sum + ms, 0)).toBeLessThan(2000 + 1000);
});

test('what was decided is not measured again, though nothing was gained', async () => {
  const store = memoryStore();
  const kernel = twoTiles({ runMs: 9 });
  const first = bench({ store });
  await first.plan(kernel);
  await first.improve();
  expect(first.better(kernel)).toBe('small');
  const second = bench({ store });
  await second.plan(kernel);
  expect(await second.improve()).toBe(1);
  expect(second.device.ran).toEqual([]);
  expect((await second.device.qualify!([])).decisions).toMatchObject([
    { variant: 'small', remembered: true, complete: true },
  ]);
});

test('what was found is applied at once on the next visit, without running anything', async () => {
  const store = memoryStore();
  const first = bench({ store });
  await first.plan(twoTiles());
  await first.improve();
  const second = bench({ store });
  await second.plan(twoTiles());
  expect(second.begins(twoTiles())).toBe('small');
  await second.improve();
  expect(second.better(twoTiles())).toBe('large');
  expect(second.device.ran).toEqual([]);
});

test.each(['off', 'nan', 'compile'] as const)('a faster variant that is wrong (%s) never runs', async (wrong) => {
  const { plan, better, improve } = bench();
  const kernel = twoTiles({ wrong });
  await plan(kernel);
  await improve();
  expect(better(kernel)).toBe('small');
});

test('a variant that runs and is wrong ends the run, and the next run begins with another', async () => {
  const store = memoryStore();
  const kernel = twoTiles({}, { wrong: 'off' });
  const { plan, improve } = bench({ store });
  await plan(kernel);
  await expect(improve()).rejects.toThrow(ComputedWronglyError);
  const next = bench({ store });
  await next.plan(kernel);
  expect(next.begins(kernel)).toBe('large');
  await next.improve();
  expect(next.better(kernel)).toBe('large');
});

test('a kernel of which every variant is known to be wrong is refused before the training', async () => {
  const store = memoryStore();
  const kernel = twoTiles({ wrong: 'nan' }, { wrong: 'off' });
  for (let run = 0; run < 2; run++) {
    const { plan, improve } = bench({ store });
    await plan(kernel);
    await expect(improve()).rejects.toThrow(ComputedWronglyError);
  }
  const { plan } = bench({ store });
  await expect(plan(kernel)).rejects.toThrow(SelfCheckError);
});

test('while another tab works nothing is done, and then its result is taken', async () => {
  const store = memoryStore();
  let busy = true;
  const { plan, qualifier, device, better } = bench({
    store,
    turn: (work) => (busy ? Promise.resolve(undefined) : work()),
  });
  await plan(twoTiles());
  expect(await qualifier.improve(device)).toBe(false);
  expect(device.ran).toEqual([]);
  const other = bench({ store });
  await other.plan(twoTiles());
  await other.improve();
  busy = false;
  expect(await qualifier.improve(device)).toBe(true);
  expect(device.ran).toEqual([]);
  expect(better(twoTiles())).toBe('large');
});

test('of the ranks that share a qualifier one measures, the launches of all', async () => {
  const { plan, qualifier, world, improve, better } = bench();
  const [mine, theirs] = [twoTiles({}, {}, 'mine'), twoTiles({}, {}, 'theirs')];
  await plan(mine);
  const other = fakeDevice(world, qualifier);
  await other.qualify!([{ kernel: theirs, params: PARAMS, count: 1 }]);
  await improve();
  expect(await qualifier.improve(other)).toBe(true);
  expect(other.ran).toEqual([]);
  expect([better(mine), better(theirs)]).toEqual(['large', 'large']);
});

test('launches that are planned later are checked too', async () => {
  const { plan, improve, better, device, qualifier } = bench();
  await plan(twoTiles());
  await improve();
  const late = twoTiles({}, {}, 'late');
  await plan(late);
  expect(better(late)).toBe(undefined);
  expect(await qualifier.improve(device)).toBe(false);
  await improve();
  expect(better(late)).toBe('large');
});

test('times of a browser that answers every wait late decide nothing, which is told once', async () => {
  const { plan, better, improve, device, world } = bench();
  let waits = 0;
  device.idle = async () => {
    waits++;
    world.ms += 100;
  };
  await plan(twoTiles());
  await improve();
  await plan(twoTiles({}, {}, 'late'));
  await improve();
  const { checks, decisions, notes } = await device.qualify!([]);
  expect([better(twoTiles()), checks.map(({ variant }) => variant), decisions, waits]).toEqual([
    'small',
    ['small', 'small'],
    [],
    3,
  ]);
  expect(notes).toEqual([expect.stringContaining('after 100 ms at the earliest, so its times decide nothing')]);
});

test('a GPU is checked and measured before', async () => {
  const { qualifier } = bench();
  expect(qualifier.isLater({ features: { ...fakeDevice(new ClockWorld()).features, software: false } })).toBe(false);
});

test('a swap changes launches in place, once everything is compiled', async () => {
  const kernel = twoTiles();
  const features = fakeDevice(new ClockWorld()).features;
  const choice = (variant: string) => chooseVariant(kernel, PARAMS, features, () => ({ variant }));
  const [began, becomes] = [{} as GPUComputePipeline, {} as GPUComputePipeline];
  let compiled: () => void = () => {};
  let left = 2;
  const problems: string[] = [];
  const swap = new LaunchSwap({
    improve: async () => --left <= 0,
    slices: () => 2,
    choose: () => choice('large'),
    onProblem: (text) => problems.push(text),
    compile: () =>
      new Promise((resolve) => {
        compiled = () => resolve(becomes);
      }),
  });
  const launches: SwappableLaunch[] = [0, 1].map(() => ({ variant: 'small', pipeline: began, grid: [1, 1, 1] }));
  for (const launch of launches) swap.track(kernel, PARAMS, choice('small'), launch);
  await swap.work();
  expect(swap.settled).toBe(false);
  await swap.work();
  expect(swap.settled).toBe(false);
  expect(swap.swap()).toBe(0);
  expect(launches.every(({ pipeline }) => pipeline === began)).toBe(true);
  compiled();
  await expect.poll(() => swap.settled).toBe(true);
  expect(swap.swap()).toBe(1);
  expect(launches.every(({ variant, pipeline }) => variant === 'large' && pipeline === becomes)).toBe(true);
  expect(problems).toEqual([]);
});

test('a better variant that cannot be compiled is left out and told', async () => {
  const kernel = twoTiles();
  const features = fakeDevice(new ClockWorld()).features;
  const choice = (variant: string) => chooseVariant(kernel, PARAMS, features, () => ({ variant }));
  const problems: string[] = [];
  let slices = 0;
  const swap = new LaunchSwap({
    improve: async () => true,
    slices: () => slices++,
    choose: () => choice('large'),
    onProblem: (text) => problems.push(text),
    compile: async () => {
      throw new Error('too long');
    },
  });
  const launch: SwappableLaunch = { variant: 'small', pipeline: {} as GPUComputePipeline, grid: [1, 1, 1] };
  swap.track(kernel, PARAMS, choice('small'), launch);
  for (let i = 0; i < 3; i++) {
    await swap.work();
    await expect.poll(() => swap.settled).toBe(true);
  }
  expect([swap.swap(), launch.variant, problems]).toEqual([0, 'small', ['fake goes on as it began: too long']]);
});

test('a better variant with more workgroups than the adapter can run is left out and told', async () => {
  const plain = twoTiles();
  const variants = plain.variants.map((one) =>
    one.name === 'large' ? { ...one, grid: ({ N }: Params) => [N, 1, 1] as const } : one,
  );
  const kernel: Kernel = { ...plain, variants };
  const problems: string[] = [];
  const qualifier = {
    isLater: () => true,
    choose: () => ({ variant: 'small' }),
    note: (text: string) => problems.push(text),
    improve: async () => true,
    slices: 1,
    better: () => ({ variant: 'large' }),
  };
  const device = deviceOf(fakeGpu(500), { qualifier: qualifier as unknown as Qualifier });
  const buffer = device.alloc(4, 'input', 'x');
  const io = { x: { buffer, offset: 0, bytes: 4 }, out: { buffer, offset: 0, bytes: 4 } };
  const [large, fits] = [
    await device.prepare(kernel, PARAMS, io),
    await device.prepare(kernel, { ...PARAMS, N: 500 }, io),
  ];
  await device.later!.work();
  await expect.poll(() => device.later!.settled).toBe(true);
  expect([device.later!.swap(), large.variant, fits.variant]).toEqual([1, 'small', 'large']);
  expect(problems).toEqual([
    expect.stringMatching(/^fake goes on as it began: .*fake\/large: 1000 x 1 x 1 workgroups, at most 500/),
  ]);
});

test('choices are made anew only after a slice of any rank, or for new launches', async () => {
  const { plan, improve, qualifier, world } = bench();
  const [mine, theirs] = [twoTiles({}, {}, 'mine'), twoTiles({}, {}, 'theirs')];
  await plan(mine);
  const other = fakeDevice(world, qualifier);
  const choice = (kernel: Kernel, variant: string) =>
    chooseVariant(kernel, PARAMS, other.features, () => ({ variant }));
  let asked = 0;
  const swap = new LaunchSwap({
    improve: () => qualifier.improve(other),
    slices: () => qualifier.slices,
    compile: async () => ({}) as GPUComputePipeline,
    onProblem: () => {},
    choose(kernel) {
      asked++;
      return choice(kernel, qualifier.better(kernel, PARAMS)?.variant ?? 'small');
    },
  });
  const track = (kernel: Kernel): void =>
    swap.track(kernel, PARAMS, choice(kernel, 'small'), {
      variant: 'small',
      pipeline: {} as GPUComputePipeline,
      grid: [1, 1, 1],
    });
  const settle = async (): Promise<void> => {
    for (let step = 0; step < 3; step++) await swap.work();
    await expect.poll(() => swap.settled).toBe(true);
  };
  track(mine);
  await improve();
  await settle();
  expect([asked, swap.swap()]).toEqual([1, 1]);
  await settle();
  expect(asked).toBe(1);
  // Launches of a plan that was made meanwhile: first they run as they begin, then what the other rank finds out.
  await plan(theirs);
  track(theirs);
  await swap.work();
  expect([asked, swap.settled]).toEqual([1, false]);
  await improve();
  await settle();
  expect([asked, swap.swap()]).toEqual([3, 1]);
});
