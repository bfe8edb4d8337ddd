// What a software adapter does between its training steps, a piece of work at a time: first it checks the variants that
// run, then it measures others against them, one challenger for every shape before a second for any and most work
// first, then it checks what won. The run began with variants that compile quickly, whose texts the contract of their
// kernel covers; no other runs before it is checked.

import { ComputedWronglyError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import type { Device } from '../device.ts';
import type { Kernel, Params } from '../kernel.ts';
import type { Picked } from './certificate.ts';
import { candidatesOf, classesOf, classKey, LEAST_SHARE, pickedOf } from './findings.ts';
import type { Findings, Group } from './findings.ts';
import { SelfCheck } from './self-check.ts';
import { tuneGroup } from './tuner.ts';

/** References and extra pipelines of all checks of a run; they are spread over its steps. */
const CHECK_MS = 60_000;

export interface ImprovementOptions {
  /** Where it is checked and measured. */
  readonly device: Device;
  readonly world: World;
  readonly findings: Findings;
  /** All launches that were planned so far. */
  readonly groups: () => readonly Group[];
  /** Time to measure in. */
  readonly tuneMs: number;
  /** Whether times of this device may decide nothing (wait-step.ts). */
  readonly coarse: () => Promise<boolean>;
}

export class Improvement {
  readonly #options: ImprovementOptions;
  readonly #check: SelfCheck;
  /** Shapes of which nothing more can be measured this time. */
  readonly #skipped = new Set<string>();
  /** Ms spent so far. */
  checkMs = 0;
  tuneMs = 0;

  constructor(options: ImprovementOptions) {
    const { device, world, findings } = options;
    this.#options = options;
    this.#check = new SelfCheck(device, world, findings, { leftMs: CHECK_MS });
  }

  get device(): Device {
    return this.#options.device;
  }

  /** What a launch should run with from now on: what won, once that is checked; undefined: what it began with. */
  best(kernel: Kernel, params: Params, shapeClass: string): Picked | undefined {
    const choice = this.#options.findings.choice(kernel, params, shapeClass);
    return choice && this.#check.passed(kernel, params, choice) ? pickedOf(choice) : undefined;
  }

  /**
   * Does one piece of work; false when there is none left. Rejects with ComputedWronglyError if what ran until now was
   * wrong.
   */
  async work(): Promise<boolean> {
    return (
      (await this.#timed('checkMs', () => this.#checkNext())) || (await this.#timed('tuneMs', () => this.#tuneNext()))
    );
  }

  async #checkNext(): Promise<boolean> {
    const found = await this.#check.next(this.#options.groups());
    if (found?.verdict === 'wrong' && found.began)
      throw new ComputedWronglyError(
        found.kernel.name,
        found.variant,
        this.#options.findings.refused.at(-1)?.reason ?? '',
      );
    return found !== undefined;
  }

  async #tuneNext(): Promise<boolean> {
    const { device, world, findings, tuneMs, coarse } = this.#options;
    const group = this.tuneMs < tuneMs && device.time ? this.#nextGroup() : undefined;
    if (!group || (await coarse())) return false;
    const before = triedOf(findings, group);
    // The first time up to one challenger, then one more each time.
    const decision = await tuneGroup(
      { device, world, findings, check: this.#check, time: { deadlineMs: world.now() + tuneMs - this.tuneMs } },
      group,
      2,
    );
    if (decision) {
      findings.decisions.set(classKey(group), decision);
      findings.knowledge.decide(group.kernel, decision);
    }
    if (triedOf(findings, group) === before) this.#skipped.add(classKey(group));
    return true;
  }

  /** The shape with the fewest candidates tried, of these the one with the most work. */
  #nextGroup(): Group | undefined {
    const { findings, groups } = this.#options;
    const all = groups();
    const whole = all.reduce((sum, { work }) => sum + work, 0);
    const open = classesOf(all).filter((group) => {
      if (group.work < LEAST_SHARE * whole || this.#skipped.has(classKey(group))) return false;
      const known = findings.knowledge.decision(group.kernel, group.shapeClass);
      const [guess] = findings.usable(group.kernel, group.params);
      return known ? !known.complete : guess !== undefined && candidatesOf(findings, group, guess).length > 1;
    });
    return open.sort((a, b) => triedOf(findings, a) - triedOf(findings, b))[0];
  }

  async #timed<T>(name: 'checkMs' | 'tuneMs', work: () => Promise<T>): Promise<T> {
    const { world } = this.#options;
    const startMs = world.now();
    try {
      return await work();
    } finally {
      this[name] += world.now() - startMs;
    }
  }
}

function triedOf(findings: Findings, { kernel, shapeClass }: Group): number {
  const known = findings.knowledge.decision(kernel, shapeClass);
  return known ? known.candidates.length + known.refused.length : 0;
}
