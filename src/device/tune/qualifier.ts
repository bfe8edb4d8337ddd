// Qualifies a device for its plans: takes what the store remembers, measures the rest within its time (largest share of
// the work first), then checks every variant that will run. One qualifier serves all ranks of a GPU: calls take turns,
// and tabs of a browser take turns through `lock`, so that one measures and the others read its result. With `later`, a
// software adapter begins at once, with variants that compile quickly, and does all that between its steps
// (improvement.ts). A GPU never does: it is measured before its memory is given out, and nothing is known of its driver
// before it is checked.

import { AbortedError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import type { Device, PlannedLaunch } from '../device.ts';
import type { Tuning } from '../variant.ts';
import type { Certificate } from './certificate.ts';
import { candidatesOf, classesOf, classKey, Findings, LEAST_SHARE, pickedOf } from './findings.ts';
import type { Group } from './findings.ts';
import { Improvement } from './improvement.ts';
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
  /** Once it is aborted, `qualify` rejects with AbortedError after the check or the turn that is under way. */
  readonly signal?: AbortSignal | undefined;
  /** Time to check in, over all plans, not counting pipelines that the plans compile anyway; 2000 by default. */
  readonly checkMs?: number;
  readonly store?: TuneStore;
  readonly lock?: TuneLock;
  /** A software adapter begins at once, and checks and measures between steps. */
  readonly later?: boolean;
  /** For a piece of that work: like `lock`, but resolves to undefined at once while another tab works. */
  readonly turn?: <T>(work: () => Promise<T>) => Promise<T | undefined>;
}

const CHECK_MS = 2000;
/**
 * Every call may check for this long, whatever earlier ones have used: the optimizer comes last, and a wrong one is
 * silent.
 */
const LEAST_CHECK_MS = 300;
/** Bytes weigh as much as this many operations. */
const FLOPS_PER_BYTE = 10;
const FIRST_CANDIDATES = 4;
/** A lock that took longer was held by another tab that measured for us. */
const WAITED_MS = 50;
const STORE_MS = 2000;
/** Work between two steps: pieces are begun until then. */
const SLICE_MS = 100;

export class Qualifier {
  readonly #options: QualifierOptions;
  readonly #groups = new Map<string, Group>();
  readonly #notes = new Set<string>();
  readonly #checkBudget: Budget;
  #findings: Findings | undefined;
  #adapter = '';
  #coarse: Promise<boolean> | undefined;
  #tuneLeftMs: number;
  #tuneMs = 0;
  #givenMs = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #improvement: Improvement | undefined;
  #improved = false;
  /** Kinds of launches that there were then. */
  #improvedGroups = 0;
  #laterCheckMs = 0;
  #slices = 0;

  constructor(options: QualifierOptions) {
    this.#options = options;
    this.#tuneLeftMs = options.tuneMs;
    this.#checkBudget = { leftMs: options.checkMs ?? CHECK_MS };
  }

  /** Whether this device begins at once, and asks for the rest between its steps. */
  isLater({ features }: Pick<Device, 'features'>): boolean {
    return this.#options.later === true && features.software;
  }

  /** What a device asks when it prepares a launch. */
  readonly choose: Tuning = (kernel, params) => {
    const findings = this.#findings;
    const choice =
      findings &&
      (this.isLater(findings)
        ? findings.usable(kernel, params)[0]
        : findings.choice(kernel, params, shapeClass(kernel, params)));
    return choice && pickedOf(choice);
  };

  /**
   * Finds the variants for `launches` on `device`; calls take turns. Rejects with SelfCheckError if no variant of a
   * kernel is right, with DeviceLostError after a loss. A store that fails is a note in the certificate.
   */
  qualify(device: Device, launches: readonly PlannedLaunch[]): Promise<Certificate> {
    const result = this.#turn.then(async () => {
      const later = this.isLater(device);
      const first = !this.#findings;
      this.#findings ??= new Findings(device.features, later);
      this.#adapter ||= adapterKey(device, this.#options.version);
      const groups = launches.map((launch) => this.#group(launch));
      if (later) {
        if (first) await this.#load(this.#findings);
        // Now, because later the ranks that share the GPU are at work, and every wait is long.
        if (this.#options.tuneMs > 0 && launches.length) await this.#isCoarse(device);
        for (const { kernel, params } of groups) this.#findings.requireChoice(kernel, params);
      } else if (launches.length) await this.#qualify(device, this.#findings, groups);
      return this.#certificate(this.#findings);
    });
    this.#turn = result.catch(() => {
      /* told to its caller */
    });
    return result;
  }

  /**
   * One slice of checking and measuring, between two steps of a device that `isLater`. Resolves to true when nothing is
   * left to do. One device of those that share the qualifier does the work, the first to ask. Rejects with
   * ComputedWronglyError when what ran until now is wrong.
   */
  improve(device: Device): Promise<boolean> {
    const findings = this.#findings;
    if (!findings) return Promise.resolve(true);
    const { world, tuneMs, turn = (work) => work() } = this.#options;
    const improvement = (this.#improvement ??= new Improvement({
      device,
      world,
      findings,
      tuneMs,
      groups: () => [...this.#groups.values()],
      coarse: () => this.#isCoarse(device),
    }));
    if (this.#improved && this.#groups.size !== this.#improvedGroups) this.#improved = false;
    if (this.#improved || improvement.device !== device) return Promise.resolve(this.#improved);
    const result = this.#turn.then(async () => {
      this.#improvedGroups = this.#groups.size;
      this.#improved = (await turn(() => this.#slice(improvement, findings))) ?? false;
      return this.#improved;
    });
    this.#turn = result.catch(() => {
      /* told to its caller */
    });
    return result;
  }

  /** What a launch should run with after `improve`; undefined: what it began with. */
  readonly better: Tuning = (kernel, params) => this.#improvement?.best(kernel, params, shapeClass(kernel, params));

  /** Grows with every slice, by whichever device: what `better` and `choose` say changes with no other. */
  get slices(): number {
    return this.#slices;
  }

  /** Something that went wrong without harm. */
  note(text: string): void {
    this.#notes.add(text);
  }

  async #slice(improvement: Improvement, findings: Findings): Promise<boolean> {
    const { world } = this.#options;
    // Another tab may have measured meanwhile.
    await this.#load(findings);
    findings.recall([...this.#groups.values()]);
    const [startMs, spentMs] = [world.now(), improvement.checkMs + improvement.tuneMs];
    try {
      do {
        if (!(await improvement.work())) return true;
      } while (world.now() - startMs < SLICE_MS);
      return false;
    } finally {
      this.#slices++;
      this.#tuneMs = improvement.tuneMs;
      this.#laterCheckMs = improvement.checkMs;
      if (improvement.checkMs + improvement.tuneMs > spentMs) await this.#save(findings);
    }
  }

  #group({ kernel, params, count }: PlannedLaunch): Group {
    const key = `${kernel.name} ${JSON.stringify(params)}`;
    const { flops, bytes } = kernel.cost(params);
    const group = {
      key,
      kernel,
      params,
      count,
      shapeClass: shapeClass(kernel, params),
      work: count * (flops + FLOPS_PER_BYTE * bytes),
    };
    this.#groups.set(key, group);
    return group;
  }

  async #qualify(device: Device, findings: Findings, groups: readonly Group[]): Promise<void> {
    const { world, signal, lock = (work) => work() } = this.#options;
    const askedMs = world.now();
    await lock(async () => {
      // Another tab may have measured while we waited.
      const waited = world.now() - askedMs > WAITED_MS;
      await this.#load(findings);
      await this.#tune(device, findings, groups, waited);
      const givenMs = Math.max(0, LEAST_CHECK_MS - this.#checkBudget.leftMs);
      this.#checkBudget.leftMs += givenMs;
      await new SelfCheck(device, world, findings, this.#checkBudget, signal).run(groups);
      this.#givenMs += givenMs;
      await this.#save(findings);
    });
  }

  async #tune(device: Device, findings: Findings, groups: readonly Group[], waited: boolean): Promise<void> {
    const { world, signal } = this.#options;
    let endMs = world.now() + this.#tuneLeftMs;
    const time = {
      get deadlineMs() {
        return signal?.aborted ? 0 : endMs;
      },
      set deadlineMs(value) {
        endMs = value;
      },
    };
    const whole = groups.reduce((sum, { work }) => sum + work, 0);
    const classes = classesOf(groups);
    findings.recall(groups);
    const toMeasure = classes.some(
      (group) => !findings.knowledge.decision(group.kernel, group.shapeClass) && hasChoice(findings, group),
    );
    if (toMeasure && device.time && this.#tuneLeftMs > 0 && (await this.#isCoarse(device))) return;
    // First a few candidates of every shape, then the others.
    for (const most of [FIRST_CANDIDATES, Infinity]) {
      for (const group of classes) {
        if (signal?.aborted) throw new AbortedError();
        const known = findings.knowledge.decision(group.kernel, group.shapeClass);
        const done = known ? known.complete || waited : !hasChoice(findings, group);
        if (done || group.work < LEAST_SHARE * whole || !device.time || world.now() >= time.deadlineMs) continue;
        const check = new SelfCheck(device, world, findings, { leftMs: time.deadlineMs - world.now() });
        const decision = await tuneGroup({ device, world, findings, check, time }, group, most);
        if (!decision) continue;
        findings.decisions.set(classKey(group), decision);
        findings.knowledge.decide(group.kernel, decision);
      }
    }
    const leftMs = endMs - world.now();
    this.#tuneMs += this.#tuneLeftMs - leftMs;
    this.#tuneLeftMs = leftMs;
  }

  /** Whether times of this GPU may decide nothing; found out and told once, for all that share it. */
  #isCoarse(device: Device): Promise<boolean> {
    return (this.#coarse ??= coarseWaitMs(device, this.#options.world).then((coarseMs) => {
      if (coarseMs === undefined) return false;
      const shown = Math.round(coarseMs);
      this.note(
        `this browser answers every wait for the GPU after ${shown} ms at the earliest, so its times decide nothing: the usual variants run`,
      );
      return true;
    }));
  }

  async #load(findings: Findings): Promise<void> {
    const { store } = this.#options;
    if (!store) return;
    try {
      const text = await this.#inTime(store.read(this.#adapter));
      if (text !== undefined && !findings.knowledge.merge(text))
        this.#notes.add('what was remembered is of another version or damaged, so it was measured anew');
    } catch (error) {
      this.#notes.add(`what was remembered could not be read (${String(error)}), so it was measured anew`);
    }
  }

  async #save(findings: Findings): Promise<void> {
    try {
      if (this.#options.store)
        await this.#inTime(this.#options.store.write(this.#adapter, findings.knowledge.format()));
    } catch (error) {
      this.#notes.add(`the result could not be kept (${String(error)}), so the next start measures again`);
    }
  }

  /** A database that never answers must not keep a device from training. */
  async #inTime<T>(work: Promise<T>): Promise<T> {
    let cancel = (): void => {};
    const late = new Promise<never>((_, reject) => {
      cancel = this.#options.world.timer(STORE_MS, () => reject(new Error(`no answer within ${STORE_MS} ms`)));
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      cancel();
    }
  }

  #certificate({ checks, unchecked, refused, decisions }: Findings): Certificate {
    return {
      adapter: this.#adapter,
      launches: this.#groups.size,
      checks: [...checks.values()],
      unchecked: [...unchecked.values()],
      refused: [...refused],
      decisions: [...decisions.values()],
      checkMs: (this.#options.checkMs ?? CHECK_MS) + this.#givenMs - this.#checkBudget.leftMs + this.#laterCheckMs,
      tuneMs: this.#tuneMs,
      notes: [...this.#notes],
    };
  }
}

function hasChoice(findings: Findings, group: Group): boolean {
  const [preset] = findings.usable(group.kernel, group.params);
  return preset !== undefined && candidatesOf(findings, group, preset).length > 1;
}

/** What a memory belongs to: the adapter with its features, and the browser. */
function adapterKey({ adapter, features }: Device, version: string): string {
  return [
    adapter.vendor,
    adapter.architecture,
    adapter.description,
    `subgroups ${features.subgroupSize}`,
    `f16 ${features.f16}`,
    ...(features.reducedPrecision ? ['reduced precision'] : []),
    version,
  ].join(' | ');
}
