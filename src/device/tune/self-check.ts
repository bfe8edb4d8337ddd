// Before a device trains, every variant that its plans use must give what the references give, on this adapter. A
// launch of the plan that is cheap enough for the reference is checked itself, on known inputs: its pipeline is
// compiled anyway. For a large one the nearest case of the kernel's contract stands in. Launches that run the same code
// (variant, constants, flags) are checked once. Launches of the plan come first, because they cost least, then cases,
// most work first; what does not fit into the time is listed.

import { AbortedError, DeviceLostError, LimitError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import type { Device, Launch } from '../device.ts';
import type { Kernel, Params } from '../kernel.ts';
import { constantsOf } from '../variant.ts';
import type { ChosenVariant } from '../variant.ts';
import { formatPicked, samePick } from './certificate.ts';
import type { Picked } from './certificate.ts';
import { pickedOf } from './findings.ts';
import type { Findings, Group } from './findings.ts';
import type { Arrays } from './golden.ts';
import { errorOf, nearestCase, toleranceOf } from './golden.ts';
import { flagsOf } from './shape-class.ts';
import { checkKey } from './store.ts';
import { Workbench } from './workbench.ts';

/**
 * The reference makes some 6e8 operations per second, so up to here it is quicker than a pipeline of its own for a
 * smaller case.
 */
const OWN_FLOPS = 3e7;
/** Filling or updating all parameters of a model takes few operations but much memory, here and on the host. */
const OWN_BYTES = 2 ** 25;
const CASE_FLOPS = 5e6;
/** Pipelines that compile while an earlier one is checked. */
const AHEAD = 4;

/** Ms that may still be spent. */
export interface Budget {
  leftMs: number;
}

export type Verdict = 'right' | 'wrong' | 'unchecked';

/** `began`: it is what runs before anything was measured. */
export interface Checked extends Picked {
  readonly kernel: Kernel;
  readonly began: boolean;
  readonly verdict: Verdict;
}

interface Unit {
  readonly key: string;
  readonly kernel: Kernel;
  readonly params: Params;
  readonly choice: ChosenVariant;
  readonly work: number;
}
interface Target {
  readonly params: Params;
  readonly choice: ChosenVariant;
  readonly own: boolean;
}

export class SelfCheck {
  readonly #device: Device;
  readonly #world: World;
  readonly #findings: Findings;
  readonly #budget: Budget;
  readonly #signal: AbortSignal | undefined;
  /** What `next` has been through. */
  readonly #asked = new Set<string>();
  readonly #passed = new Set<string>();

  /** `signal`: once it is aborted, `run` rejects with AbortedError before its next check. */
  constructor(device: Device, world: World, findings: Findings, budget: Budget, signal?: AbortSignal) {
    this.#device = device;
    this.#world = world;
    this.#findings = findings;
    this.#budget = budget;
    this.#signal = signal;
  }

  /**
   * Checks what would run `groups`, and falls back until something passes. Rejects with SelfCheckError where nothing
   * does.
   */
  async run(groups: readonly Group[]): Promise<void> {
    const settled = new Set<string>();
    for (;;) {
      const units = this.#units(groups).filter(({ key }) => !settled.has(key));
      if (!units.length) return;
      const opened: (Opened | undefined)[] = [];
      try {
        for (const [i, unit] of units.entries()) {
          if (this.#signal?.aborted) throw new AbortedError();
          settled.add(unit.key);
          for (let next = opened.length; next < Math.min(units.length, i + AHEAD); next++)
            opened.push(this.#open(units[next]));
          await this.#settle(unit, opened[i]);
        }
      } finally {
        for (const one of opened) one?.bench.close();
      }
    }
  }

  /**
   * Checks one variant of those that would run `groups` now, if there is one that it was not asked about before;
   * undefined when there is none.
   */
  async next(groups: readonly Group[]): Promise<Checked | undefined> {
    const unit = this.#units(groups).find(({ key }) => !this.#asked.has(key));
    if (!unit) return undefined;
    this.#asked.add(unit.key);
    const { key, kernel, params, choice } = unit;
    const picked = pickedOf(choice);
    const [guess] = this.#findings.usable(kernel, params);
    const began = guess !== undefined && samePick(pickedOf(guess), picked);
    const opened = this.#open(unit);
    try {
      const verdict = await this.#settle(unit, opened);
      if (verdict === 'right') this.#passed.add(key);
      return { kernel, ...picked, began, verdict };
    } finally {
      opened?.bench.close();
    }
  }

  /** Whether `next` found the code of this launch right. */
  passed(kernel: Kernel, params: Params, choice: ChosenVariant): boolean {
    return this.#passed.has(unitKey(kernel, params, choice));
  }

  /** Checks one variant, now. */
  async verify(kernel: Kernel, params: Params, choice: ChosenVariant): Promise<Verdict> {
    const unit = { key: '', kernel, params, choice, work: 0 };
    const opened = this.#open(unit);
    try {
      return await this.#settle(unit, opened);
    } finally {
      opened?.bench.close();
    }
  }

  /**
   * The code that runs `groups`: for each the launch with the fewest operations; launches of the plan before cases,
   * most work first.
   */
  #units(groups: readonly Group[]): readonly Unit[] {
    const units = new Map<string, Unit>();
    for (const { kernel, params, shapeClass, work } of groups) {
      const choice = this.#findings.choice(kernel, params, shapeClass);
      if (!choice) {
        this.#findings.requireChoice(kernel, params);
        continue;
      }
      const key = unitKey(kernel, params, choice);
      const known = units.get(key);
      const smaller = !known || kernel.cost(params).flops < kernel.cost(known.params).flops;
      units.set(key, {
        key,
        kernel,
        work: (known?.work ?? 0) + work,
        ...(smaller ? { params, choice } : { params: known.params, choice: known.choice }),
      });
    }
    const extra = ({ kernel, params }: Unit): number => (isCheap(kernel, params) ? 0 : 1);
    return [...units.values()].sort((a, b) => extra(a) - extra(b) || b.work - a.work);
  }

  #target({ kernel, params, choice }: Unit): Target | undefined {
    if (isCheap(kernel, params)) return { params, choice, own: true };
    const near = nearestCase(kernel, choice.variant, params, this.#findings.features, CASE_FLOPS);
    return (
      near && {
        params: near,
        choice: {
          variant: choice.variant,
          constants: constantsOf(choice.variant, near, this.#findings.features, pickedOf(choice).constants),
        },
        own: false,
      }
    );
  }

  /** Starts to compile; undefined where there is nothing to run. */
  #open(unit: Unit): Opened | undefined {
    const target = this.#target(unit);
    if (!target || this.#budget.leftMs <= 0 || this.#remembered(unit.kernel, target) !== undefined) return undefined;
    return this.#charged(() => {
      try {
        const bench = new Workbench(this.#device, this.#world, unit.kernel, target.params);
        const launch = bench.prepare(target.choice);
        launch.catch(() => {
          /* told by #settle */
        });
        return { bench, launch };
      } catch (error) {
        if (error instanceof LimitError) return undefined;
        throw error;
      }
    });
  }

  async #settle(unit: Unit, opened: Opened | undefined): Promise<Verdict> {
    const { kernel, params, choice } = unit;
    const picked = pickedOf(choice);
    const target = this.#target(unit);
    const known = target && this.#remembered(kernel, target);
    if (target && known !== undefined) {
      this.#findings.pass(kernel, target.params, target.choice, known, 'remembered');
      return 'right';
    }
    if (!target || !opened || this.#budget.leftMs <= 0)
      return this.#unchecked(unit, target ? 'the time was over' : 'no case of its contract is small enough');
    try {
      // The plan compiles its own launches anyway, some drivers at the first dispatch; only extra pipelines and the
      // references are charged.
      const got = target.own ? await outputsOf(opened) : await this.#chargedWait(() => this.#inTime(outputsOf(opened)));
      if (!got) return this.#unchecked(unit, 'its case did not compile in time');
      const error = this.#charged(() => errorOf(opened.bench.expected(), got, toleranceOf(kernel, choice.variant)));
      if (error <= 1) {
        this.#findings.pass(kernel, target.params, target.choice, error, target.own ? 'plan' : 'case');
        return 'right';
      }
      this.#findings.refuse(kernel, params, picked, wrongness(error), true);
    } catch (error) {
      if (error instanceof DeviceLostError) throw error;
      this.#findings.refuse(kernel, params, picked, error instanceof Error ? error.message : String(error), false);
    } finally {
      opened.bench.close();
    }
    return 'wrong';
  }

  #unchecked({ key, kernel, choice }: Unit, reason: string): Verdict {
    const picked = pickedOf(choice);
    // Asked about by the tuner, it may not be what runs in the end.
    if (key) this.#findings.unchecked.set(key, { kernel: kernel.name, ...picked, reason });
    return 'unchecked';
  }

  /** Undefined when the budget is over first. */
  async #inTime<T>(work: Promise<T>): Promise<T | undefined> {
    let cancel = (): void => {};
    const late = new Promise<undefined>((resolve) => {
      cancel = this.#world.timer(Math.max(0, this.#budget.leftMs), () => resolve(undefined));
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      cancel();
    }
  }

  #remembered(kernel: Kernel, { choice }: Target): number | undefined {
    return this.#findings.knowledge.passed(checkKey(kernel, choice.variant, choice.constants));
  }

  #charged<T>(work: () => T): T {
    const startMs = this.#world.now();
    try {
      return work();
    } finally {
      this.#budget.leftMs -= this.#world.now() - startMs;
    }
  }

  async #chargedWait<T>(work: () => Promise<T>): Promise<T> {
    const startMs = this.#world.now();
    try {
      return await work();
    } finally {
      this.#budget.leftMs -= this.#world.now() - startMs;
    }
  }
}

/** Launches with equal keys run the same code. */
function unitKey(kernel: Kernel, params: Params, choice: ChosenVariant): string {
  return `${kernel.name}/${formatPicked(pickedOf(choice))} ${flagsOf(kernel, params)}`;
}

function isCheap(kernel: Kernel, params: Params): boolean {
  const { flops, bytes } = kernel.cost(params);
  return flops <= OWN_FLOPS && bytes <= OWN_BYTES;
}

async function outputsOf({ bench, launch }: Opened): Promise<Arrays> {
  return bench.outputs(await launch);
}

interface Opened {
  readonly bench: Workbench;
  readonly launch: Promise<Launch>;
}

export function wrongness(error: number): string {
  return Number.isFinite(error)
    ? `its result is ${error.toPrecision(3)} times the allowed error off`
    : 'its result has wrong integers or values that are no numbers';
}
