// The tuner and the self-check on a device with a clock of its own: what is measured decides, what is wrong never runs,
// and a store costs nothing but time.

import { expect, test } from 'vitest';
import { AbortedError, DeviceLostError, SelfCheckError } from '../../src/base/errors.ts';
import { chooseVariant } from '../../src/device/variant.ts';
import { Qualifier } from '../../src/device/tune/qualifier.ts';
import type { QualifierOptions } from '../../src/device/tune/qualifier.ts';
import type { Kernel, Params } from '../../src/device/kernel.ts';
import { explain, summary } from '../../src/device/tune/certificate.ts';
import type { Certificate } from '../../src/device/tune/certificate.ts';
import { shapeClass } from '../../src/device/tune/shape-class.ts';
import type { TuneStore } from '../../src/device/tune/store.ts';
import { ClockWorld, fakeDevice, fakeKernel } from '../support/fake-device.ts';

const PARAMS = { N: 1000, FACTOR: 2 };

function bench(options: Partial<QualifierOptions> = {}) {
  const world = new ClockWorld();
  const qualifier = new Qualifier({ world, version: 'test', tuneMs: 2000, ...options });
  const device = fakeDevice(world, qualifier);
  const qualify = (kernel: Kernel, params: Params = PARAMS): Promise<Certificate> =>
    device.qualify!([{ kernel, params, count: 1 }]);
  const chosen = (kernel: Kernel, params: Params = PARAMS): string =>
    chooseVariant(kernel, params, device.features, qualifier.choose).variant.name;
  return { world, device, qualifier, qualify, chosen };
}

test('the fastest right variant runs, and says why', async () => {
  const kernel = fakeKernel({ slow: { runMs: 9 }, middle: { runMs: 6 }, quick: { runMs: 3 } });
  const { qualify, chosen } = bench();
  const certificate = await qualify(kernel);
  expect(chosen(kernel)).toBe('quick');
  expect(explain(certificate.decisions[0])).toBe(
    'fake takes quick (3.00 ms by the wall clock) instead of slow (9.00 ms by the wall clock): 3.00 times as fast.',
  );
  expect(summary(certificate)).toContain('tuned 1 shapes');
});

test('a variant that is faster but wrong is refused', async () => {
  for (const wrong of ['off', 'nan', 'compile'] as const) {
    const kernel = fakeKernel({ slow: { runMs: 9 }, quick: { runMs: 3, wrong } });
    const { qualify, chosen } = bench();
    const certificate = await qualify(kernel);
    expect(chosen(kernel)).toBe('slow');
    expect(certificate.refused).toHaveLength(1);
    expect(certificate.refused[0]).toMatchObject({ kernel: 'fake', variant: 'quick' });
    expect(explain(certificate.decisions[0])).toContain('quick was refused');
  }
});

test.each([0, 2000])('a wrong default falls back to what is right (%i ms to tune)', async (tuneMs) => {
  const kernel = fakeKernel({ wrong: { runMs: 1, wrong: 'off' }, right: { runMs: 9 } });
  const { qualify, chosen, device } = bench({ tuneMs });
  const certificate = await qualify(kernel);
  expect(chosen(kernel)).toBe('right');
  expect(certificate.refused[0].reason).toMatch(/times the allowed error/);
  expect(certificate.checks.map(({ variant }) => variant)).toEqual(['right']);
  expect(device.memory.staging.now).toBe(0);
});

test.each([0, 2000])('if all are wrong the device may not join (%i ms to tune)', async (tuneMs) => {
  const kernel = fakeKernel({ one: { runMs: 1, wrong: 'off' }, two: { runMs: 9, wrong: 'nan' } });
  const { qualify, qualifier } = bench({ tuneMs });
  const error = await qualify(kernel).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(SelfCheckError);
  expect((error as SelfCheckError).message).toMatch(
    /^self-check: this adapter computes fake wrongly in every variant \(one: .*times the allowed error off; two: .*no numbers\); update/,
  );
  expect((error as SelfCheckError).reasons).toHaveProperty('two');
  // The next caller's turn comes all the same.
  const other = fakeKernel({ fine: { runMs: 1 } }, {}, 'other');
  expect(
    (await qualifier.qualify(fakeDevice(new ClockWorld()), [{ kernel: other, params: PARAMS, count: 1 }])).checks,
  ).toHaveLength(1);
});

test('a device that is lost in the middle says so', async () => {
  const { qualify } = bench();
  await expect(qualify(fakeKernel({ slow: { runMs: 9 }, bad: { runMs: 3, wrong: 'lost' } }))).rejects.toThrow(
    DeviceLostError,
  );
});

test('the time is kept: nothing is compiled after it, and most work comes first', async () => {
  const variants = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`v${i}`, { runMs: 5, compileMs: 300 }]));
  const [big, small] = [fakeKernel(variants, {}, 'big'), fakeKernel(variants, {}, 'small')];
  const { qualifier, device, world } = bench({ tuneMs: 1000 });
  const startMs = world.now();
  const certificate = await qualifier.qualify(device, [
    { kernel: small, params: { N: 1000, FACTOR: 2 }, count: 1 },
    { kernel: big, params: { N: 9000, FACTOR: 2 }, count: 9 },
  ]);
  expect(device.compiled.filter((name) => name.startsWith('big')).length).toBeGreaterThan(1);
  expect(certificate.decisions.map(({ kernel, complete }) => [kernel, complete])).toEqual([['big', false]]);
  // The budget, the defaults of both (which the plan compiles anyway), and one more compile with its measurement.
  expect(world.now() - startMs).toBeLessThan(1000 + 2 * 310 + 400);
  expect(certificate.tuneMs).toBeLessThan(1400);
});

test.each([0, 60_000])(
  'a stop is heard after the check or the turn that is under way (%i ms to tune)',
  async (tuneMs) => {
    const variants = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`v${i}`, { runMs: 5, compileMs: 300 }]));
    const kernels = ['a', 'b', 'c', 'd'].map((name) => fakeKernel(variants, {}, name));
    const stop = new AbortController();
    const { qualifier, device } = bench({ tuneMs, signal: stop.signal });
    const { prepare } = device;
    let compiled = 0;
    device.prepare = (...given) => {
      if (++compiled === 2) stop.abort();
      return prepare(...given);
    };
    const launches = kernels.map((kernel) => ({ kernel, params: PARAMS, count: 1 }));
    await expect(qualifier.qualify(device, launches)).rejects.toThrow(AbortedError);
    // Two are compiled ahead of the one that is checked.
    expect(compiled).toBeLessThanOrEqual(4);
  },
);

test('a candidate that is far too slow is measured once', async () => {
  const kernel = fakeKernel({ quick: { runMs: 10 }, awful: { runMs: 500 } });
  const { qualify, world, chosen } = bench();
  const startMs = world.now();
  const {
    decisions: [{ candidates }],
  } = await qualify(kernel);
  expect(candidates[1]).toMatchObject({ variant: 'awful', abandoned: true, samples: 1 });
  expect(world.now() - startMs).toBeLessThan(1200);
  expect(chosen(kernel)).toBe('quick');
});

test('timestamps decide only where the wall clock does not contradict them', async () => {
  const lying = fakeKernel({ honest: { runMs: 5, gpuMs: 4 }, liar: { runMs: 9, gpuMs: 0.5 } });
  const zero = fakeKernel({ slow: { runMs: 5, gpuMs: 0 }, quick: { runMs: 3, gpuMs: 0 } });
  const clear = fakeKernel({ slow: { runMs: 5, gpuMs: 4 }, quick: { runMs: 4.9, gpuMs: 1 } });
  for (const [kernel, variant, clock] of [
    [lying, 'honest', 'gpu'],
    [zero, 'quick', 'wall'],
    [clear, 'quick', 'gpu'],
  ] as const) {
    const { qualify, chosen } = bench();
    const {
      decisions: [{ candidates }],
    } = await qualify(kernel);
    expect(chosen(kernel)).toBe(variant);
    expect(candidates.map((one) => one.clock)).toEqual([clock, clock]);
  }
});

/** A store in memory that counts, with what tests do to it. */
function memoryStore(text?: string): TuneStore & { texts: Map<string, string>; reads: number } {
  const texts = new Map<string, string>();
  const store = {
    texts,
    reads: 0,
    async read(key: string) {
      store.reads++;
      return texts.get(key) ?? text;
    },
    async write(key: string, value: string) {
      texts.set(key, value);
    },
  };
  return store;
}

const quickSlow = () => fakeKernel({ slow: { runMs: 9 }, quick: { runMs: 3 } });

test('what was measured and checked is remembered, and applied without measuring or checking', async () => {
  const store = memoryStore();
  await bench({ store }).qualify(quickSlow());
  const later = bench({ store });
  const certificate = await later.qualify(quickSlow());
  expect(later.chosen(quickSlow())).toBe('quick');
  expect(certificate.decisions).toMatchObject([{ variant: 'quick', remembered: true, complete: true }]);
  expect(certificate.checks).toMatchObject([{ variant: 'quick', how: 'remembered' }]);
  expect(later.device.ran).toEqual([]);
  // Another browser version, another adapter: nothing is known.
  const other = bench({ store, version: 'next' });
  expect((await other.qualify(quickSlow())).checks.map(({ how }) => how)).not.toContain('remembered');
  expect(store.texts.size).toBe(2);
});

test('a changed source is measured and checked anew', async () => {
  const store = memoryStore();
  await bench({ store }).qualify(quickSlow());
  const { qualify, chosen } = bench({ store });
  const changed = fakeKernel({ slow: { runMs: 9 }, quick: { runMs: 2, wrong: 'off' } });
  expect((await qualify(changed)).refused).toMatchObject([{ variant: 'quick' }]);
  expect(chosen(changed)).toBe('slow');
});

test('measuring goes on where the last session stopped', async () => {
  const store = memoryStore();
  const kernel = fakeKernel(
    Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`v${i}`, { runMs: 9 - i, compileMs: 200 }])),
  );
  const measured: number[] = [];
  let complete = false;
  for (let session = 0; session < 8 && !complete; session++) {
    const { qualify } = bench({ store, tuneMs: 500 });
    const [decision] = (await qualify(kernel)).decisions;
    measured.push(decision.candidates.length);
    complete = decision.complete;
  }
  expect(measured.length).toBeGreaterThan(1);
  expect(measured).toEqual([...measured].sort((a, b) => a - b));
  expect(complete).toBe(true);
  const last = bench({ store });
  await last.qualify(kernel);
  expect(last.chosen(kernel)).toBe('v5');
});

test.each([
  ['cut off', '{"version":1,"decisions":{'],
  ['of another version', '{"version":0,"decisions":{},"checks":{}}'],
  ['of another shape', '{"version":1,"decisions":{"fake x":{"variant":"quick"}},"checks":{}}'],
  ['with a lying check', '{"version":1,"decisions":{},"checks":{"fake/quick 00":-1}}'],
])('a store that is %s is ignored', async (_, text) => {
  const store = memoryStore(text);
  const { qualify, chosen } = bench({ store });
  const certificate = await qualify(quickSlow());
  expect(certificate.notes).toEqual(['what was remembered is of another version or damaged, so it was measured anew']);
  expect(chosen(quickSlow())).toBe('quick');
  expect(certificate.checks.map(({ how }) => how)).not.toContain('remembered');
});

test('a store that cannot be read or is full costs a note', async () => {
  const store: TuneStore = {
    read: () => Promise.reject(new Error('blocked')),
    write: () => Promise.reject(new Error('quota exceeded')),
  };
  const { qualify, chosen } = bench({ store });
  const { notes } = await qualify(quickSlow());
  expect(notes).toEqual([
    'what was remembered could not be read (Error: blocked), so it was measured anew',
    'the result could not be kept (Error: quota exceeded), so the next start measures again',
  ]);
  expect(chosen(quickSlow())).toBe('quick');
});

test('a remembered variant that this launch does not support, or that is gone, is not applied', async () => {
  const store = memoryStore();
  await bench({ store }).qualify(quickSlow());
  const key = [...store.texts.keys()][0];
  store.texts.set(key, store.texts.get(key)!.replaceAll('"variant":"quick"', '"variant":"gone"'));
  const { qualify, chosen } = bench({ store, tuneMs: 0 });
  await qualify(quickSlow());
  expect(chosen(quickSlow())).toBe('slow');
});

test('who waited for the lock takes the choices of the one who measured', async () => {
  const store = memoryStore();
  const kernel = fakeKernel(
    Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`v${i}`, { runMs: 9 - i, compileMs: 200 }])),
  );
  await bench({ store, tuneMs: 500 }).qualify(kernel);
  const world = new ClockWorld();
  const qualifier = new Qualifier({
    world,
    version: 'test',
    tuneMs: 500,
    store,
    lock: (work) => {
      world.ms += 400;
      return work();
    },
  });
  const device = fakeDevice(world, qualifier);
  const { decisions } = await device.qualify!([{ kernel, params: PARAMS, count: 1 }]);
  expect(decisions).toMatchObject([{ remembered: true }]);
  expect(device.ran).toEqual([]);
});

test('whether waits are coarse is found out once, whatever is planned', async () => {
  const { qualify, device, world, chosen } = bench();
  let waits = 0;
  device.idle = async () => {
    world.ms += 100 + waits++;
  };
  const [one, two] = ['one', 'two'].map((name) => fakeKernel({ slow: { runMs: 9 }, quick: { runMs: 3 } }, {}, name));
  await qualify(one);
  const { decisions, notes } = await qualify(two);
  expect([waits, chosen(one), chosen(two), decisions, notes.length]).toEqual([3, 'slow', 'slow', [], 1]);
});

test('ranks that share a qualifier measure once', async () => {
  const { qualifier, world, qualify } = bench();
  const other = fakeDevice(world, qualifier);
  const kernel = quickSlow();
  await Promise.all([qualify(kernel), other.qualify!([{ kernel, params: PARAMS, count: 1 }])]);
  expect(other.ran).toEqual([]);
});

test('shape classes keep flags, small extents and divisibility, and round sizes', () => {
  const kernel = fakeKernel({ only: { runMs: 1 } });
  const of = (N: number, FACTOR: number): string => shapeClass(kernel, { N, FACTOR });
  expect(of(512, 1)).toBe('N=~512q FACTOR=1');
  expect(of(600, 1)).toBe(of(512, 1));
  expect(of(1000, 1)).not.toBe(of(512, 1));
  expect(of(511, 1)).toBe('N=~512 FACTOR=1');
  expect(of(7, 0)).toBe('N=7 FACTOR=0');
  expect(of(512, 0.25)).toBe(of(512, 0.3));
});

test('each call may check a little, though earlier ones used up the time', async () => {
  const { qualifier, device, world } = bench({ tuneMs: 0, checkMs: 100 });
  const plain = fakeKernel({ only: { runMs: 1 } }, {}, 'slow');
  // A slow reference: what the device itself takes is the plan's own.
  const slow: Kernel = {
    ...plain,
    reference(io, params) {
      world.ms += 500;
      plain.reference(io, params);
    },
  };
  const optimizer = fakeKernel({ only: { runMs: 1 } }, {}, 'optimizer');
  const first = await qualifier.qualify(
    device,
    Array.from({ length: 3 }, (_, i) => ({ kernel: { ...slow, name: `slow${i}` }, params: PARAMS, count: 1 })),
  );
  expect(first.unchecked).toHaveLength(2);
  const { checks, checkMs } = await qualifier.qualify(device, [{ kernel: optimizer, params: PARAMS, count: 1 }]);
  expect(checks.map(({ kernel }) => kernel)).toEqual(['slow0', 'optimizer']);
  expect(checkMs).toBe(500);
});

test('a launch that is too large for the bench is checked on a case of its contract, and not measured', async () => {
  const { qualify, chosen } = bench();
  const kernel = quickSlow();
  const large = { N: 5e7, FACTOR: 2 };
  const { checks, decisions } = await qualify(kernel, large);
  expect(checks).toMatchObject([{ variant: 'slow', how: 'case', params: { N: 1, FACTOR: 2 } }]);
  expect(decisions).toEqual([]);
  expect(chosen(kernel, large)).toBe('slow');
});

test('what did well on one shape is tried first on the next, and what was made for other adapters not at all', async () => {
  const kernel = fakeKernel({
    guess: { runMs: 9, compileMs: 10 },
    bad: { runMs: 20, compileMs: 10 },
    good: { runMs: 3, compileMs: 10 },
    gpu: { runMs: 1 },
  });
  const made: Kernel = {
    ...kernel,
    variants: kernel.variants.map((variant) =>
      variant.name === 'gpu' ? { ...variant, madeFor: 'hardware' } : variant,
    ),
  };
  const { qualifier, device } = bench();
  const launch = (N: number) => ({ kernel: made, params: { N, FACTOR: 2 }, count: 1 });
  await qualifier.qualify(device, [launch(1000)]);
  const { decisions } = await qualifier.qualify(device, [launch(5000)]);
  expect(decisions.map(({ candidates }) => candidates.map(({ variant }) => variant))).toEqual([
    ['guess', 'bad', 'good'],
    ['guess', 'good', 'bad'],
  ]);
});
