// Qualifies a device for its plans: takes what the store remembers, measures the rest within its time (largest share of the work first), then checks every
// variant that will run. One qualifier serves all ranks of a GPU: calls take turns, and tabs of a browser take turns through `lock`, so that one measures
// and the others read its result.

import type { World } from '../../base/world.ts';
import type { Device, PlannedLaunch } from '../device.ts';
import type { Tuning } from '../variant.ts';
import type { Certificate } from './certificate.ts';
import { candidatesOf, Findings, pickedOf } from './findings.ts';
import type { Group } from './findings.ts';
import { SelfCheck } from './self-check.ts';
import type { Budget } from './self-check.ts';
import { shapeClass } from './shape-class.ts';
import type { TuneLock, TuneStore } from './store.ts';
import { coarseWaitMs } from './wait-step.ts';
import { tuneGroup } from './tuner.ts';

export interface QualifierOptions {
  readonly world: World;
  /** Browser or runtime with its version: a new one may compile differently. */
  readonly version: string;
  /** Time to measure in, over all plans; 0: only what is remembered. */
  readonly tuneMs: number;
  /** Time to check in, over all plans, not counting pipelines that the plans compile anyway; 2000 by default. */
  readonly checkMs?: number;
  readonly store?: TuneStore;
  readonly lock?: TuneLock;
}

const CHECK_MS = 2000;
/** Every call may check for this long, whatever earlier ones have used: the optimizer comes last, and a wrong one is silent. */
const LEAST_CHECK_MS = 300;
/** Bytes weigh as much as this many operations. */
const FLOPS_PER_BYTE = 10;
/** Shapes below this share of the work are not worth a measurement. */
const LEAST_SHARE = 0.01;
const FIRST_CANDIDATES = 4;
/** A lock that took longer was held by another tab that measured for us. */
const WAITED_MS = 50;
const STORE_MS = 2000;

export class Qualifier {
  readonly #options: QualifierOptions;
  readonly #groups = new Map<string, Group>();
  readonly #notes = new Set<string>();
  readonly #checkBudget: Budget;
  #findings: Findings | undefined;
  #adapter = '';
  #tuneLeftMs: number;
  #tuneMs = 0;
  #givenMs = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: QualifierOptions) {
    this.#options = options;
    this.#tuneLeftMs = options.tuneMs;
    this.#checkBudget = { leftMs: options.checkMs ?? CHECK_MS };
  }

  /** What a device asks when it prepares a launch. */
  readonly choose: Tuning = (kernel, params) => {
    const choice = this.#findings?.choice(kernel, params, shapeClass(kernel, params));
    return choice && pickedOf(choice);
  };

  /**
   * Finds the variants for `launches` on `device`; calls take turns. Rejects with SelfCheckError if no variant of a kernel is right, with DeviceLostError
   * after a loss. A store that fails is a note in the certificate.
   */
  qualify(device: Device, launches: readonly PlannedLaunch[]): Promise<Certificate> {
    const result = this.#turn.then(async () => {
      this.#findings ??= new Findings(device.features);
      this.#adapter ||= adapterKey(device, this.#options.version);
      if (launches.length) await this.#qualify(device, this.#findings, launches.map((launch) => this.#group(launch)));
      return this.#certificate(this.#findings);
    });
    this.#turn = result.catch(() => { /* told to its caller */ });
    return result;
  }

  #group({ kernel, params, count }: PlannedLaunch): Group {
    const key = `${kernel.name} ${JSON.stringify(params)}`;
    const { flops, bytes } = kernel.cost(params);
    const group = { key, kernel, params, count, shapeClass: shapeClass(kernel, params), work: count * (flops + FLOPS_PER_BYTE * bytes) };
    this.#groups.set(key, group);
    return group;
  }

  async #qualify(device: Device, findings: Findings, groups: readonly Group[]): Promise<void> {
    const { world, lock = (work) => work() } = this.#options;
    const askedMs = world.now();
    await lock(async () => {
      // Another tab may have measured while we waited.
      const waited = world.now() - askedMs > WAITED_MS;
      await this.#load(findings);
      await this.#tune(device, findings, groups, waited);
      const givenMs = Math.max(0, LEAST_CHECK_MS - this.#checkBudget.leftMs);
      this.#checkBudget.leftMs += givenMs;
      await new SelfCheck(device, world, findings, this.#checkBudget).run(groups);
      this.#givenMs += givenMs;
      await this.#save(findings);
    });
  }

  async #tune(device: Device, findings: Findings, groups: readonly Group[], waited: boolean): Promise<void> {
    const { world } = this.#options;
    const time = { deadlineMs: world.now() + this.#tuneLeftMs };
    const whole = groups.reduce((sum, { work }) => sum + work, 0);
    const classes = classesOf(groups);
    for (const { kernel, shapeClass: name } of classes) {
      const known = findings.knowledge.decision(kernel, name);
      const key = `${kernel.name} ${name}`;
      if (known && !findings.decisions.has(key)) findings.decisions.set(key, { ...known, remembered: true });
    }
    const toMeasure = classes.some((group) => !findings.knowledge.decision(group.kernel, group.shapeClass) && hasChoice(findings, group));
    const coarseMs = toMeasure && device.time && this.#tuneLeftMs > 0 ? await coarseWaitMs(device, world) : undefined;
    if (coarseMs !== undefined) {
      this.#notes.add(`this browser answers every wait for the GPU after ${Math.round(coarseMs)} ms at the earliest, so its times decide nothing: the usual variants run`);
      return;
    }
    // First a few candidates of every shape, then the others.
    for (const most of [FIRST_CANDIDATES, Infinity]) {
      for (const group of classes) {
        const known = findings.knowledge.decision(group.kernel, group.shapeClass);
        const done = known ? known.complete || waited : !hasChoice(findings, group);
        if (done || group.work < LEAST_SHARE * whole || !device.time || world.now() >= time.deadlineMs) continue;
        const check = new SelfCheck(device, world, findings, { leftMs: time.deadlineMs - world.now() });
        const decision = await tuneGroup({ device, world, findings, check, time }, group, most);
        if (!decision) continue;
        findings.decisions.set(`${group.kernel.name} ${group.shapeClass}`, decision);
        findings.knowledge.decide(group.kernel, decision);
      }
    }
    const leftMs = time.deadlineMs - world.now();
    this.#tuneMs += this.#tuneLeftMs - leftMs;
    this.#tuneLeftMs = leftMs;
  }

  async #load(findings: Findings): Promise<void> {
    const { store } = this.#options;
    if (!store) return;
    try {
      const text = await this.#inTime(store.read(this.#adapter));
      if (text !== undefined && !findings.knowledge.merge(text)) this.#notes.add('what was remembered is of another version or damaged, so it was measured anew');
    } catch (error) {
      this.#notes.add(`what was remembered could not be read (${String(error)}), so it was measured anew`);
    }
  }

  async #save(findings: Findings): Promise<void> {
    try {
      if (this.#options.store) await this.#inTime(this.#options.store.write(this.#adapter, findings.knowledge.format()));
    } catch (error) {
      this.#notes.add(`the result could not be kept (${String(error)}), so the next start measures again`);
    }
  }

  /** A database that never answers must not keep a device from training. */
  async #inTime<T>(work: Promise<T>): Promise<T> {
    let cancel = (): void => {};
    const late = new Promise<never>((_, reject) => { cancel = this.#options.world.timer(STORE_MS, () => reject(new Error(`no answer within ${STORE_MS} ms`))); });
    try {
      return await Promise.race([work, late]);
    } finally {
      cancel();
    }
  }

  #certificate({ checks, unchecked, refused, decisions }: Findings): Certificate {
    return {
      adapter: this.#adapter, launches: this.#groups.size, checks: [...checks.values()], unchecked: [...unchecked.values()], refused: [...refused], decisions: [...decisions.values()],
      checkMs: (this.#options.checkMs ?? CHECK_MS) + this.#givenMs - this.#checkBudget.leftMs, tuneMs: this.#tuneMs, notes: [...this.#notes],
    };
  }
}

/** One group for each kernel and shape class, the one with the most work, with the work of all of them; most work first. */
function classesOf(groups: readonly Group[]): readonly Group[] {
  const classes = new Map<string, Group>();
  for (const group of groups) {
    const key = `${group.kernel.name} ${group.shapeClass}`;
    const known = classes.get(key);
    classes.set(key, { ...(known && known.work >= group.work ? known : group), work: (known?.work ?? 0) + group.work });
  }
  return [...classes.values()].sort((a, b) => b.work - a.work);
}

function hasChoice(findings: Findings, group: Group): boolean {
  const [preset] = findings.usable(group.kernel, group.params);
  return preset !== undefined && candidatesOf(findings, group, preset).length > 1;
}

/** What a memory belongs to: the adapter with its features, and the browser. */
function adapterKey({ adapter, features }: Device, version: string): string {
  return [adapter.vendor, adapter.architecture, adapter.description, `subgroups ${features.subgroupSize}`, `f16 ${features.f16}`, ...(features.reducedPrecision ? ['reduced precision'] : []), version].join(' | ');
}
