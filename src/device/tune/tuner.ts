// Chooses the fastest variant of one launch by measuring. A candidate must first give the right result on this launch;
// then it takes turns with the best one so far (challenger, best, best, challenger, ...), so that both meet the same
// noise, and wins if it wins every round and its median is at least 3 % lower. Both clocks are read: the GPU's
// timestamps decide where they are plausible for all samples of both, and the wall clock must not contradict them.
// Stops at its deadline, which is looked at before each compile; the next session goes on with the candidates that are
// left.

import { DeviceLostError, LimitError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import type { Device, Launch } from '../device.ts';
import type { ChosenVariant } from '../variant.ts';
import { samePick } from './certificate.ts';
import type { Candidate, Decision, Refusal } from './certificate.ts';
import { candidatesOf, pickedOf } from './findings.ts';
import type { Findings, Group } from './findings.ts';
import { errorOf, toleranceOf } from './golden.ts';
import type { Arrays } from './golden.ts';
import { wrongness } from './self-check.ts';
import type { SelfCheck } from './self-check.ts';
import { Workbench } from './workbench.ts';
import type { Sample } from './workbench.ts';

/** Up to here the reference says what is right; beyond, a variant that passed its own check does. */
const REFERENCE_FLOPS = 5e7;
const ABANDON = 2.5;
const ROUNDS = 3;
/** A challenger must be this much faster by the deciding clock, and at most this much slower by the wall clock. */
const WINS = 0.97;
const CONTRADICTS = 1.05;

interface Runner {
  readonly choice: ChosenVariant;
  readonly launch: Launch;
  readonly roughMs: number;
  readonly relative: number;
  readonly samples: Sample[];
}

export interface TuneOptions {
  readonly device: Device;
  readonly world: World;
  readonly findings: Findings;
  readonly check: SelfCheck;
  readonly time: TuneTime;
}

/**
 * World ms after which nothing new is compiled. It moves by what the plan would have spent anyway: compiling and
 * warming the first candidate.
 */
export interface TuneTime {
  deadlineMs: number;
}

/**
 * Measures at most `most` candidates that the store does not know about `group` yet. Undefined where nothing could be
 * measured in time.
 */
export async function tuneGroup(options: TuneOptions, group: Group, most: number): Promise<Decision | undefined> {
  let bench: Workbench;
  try {
    bench = new Workbench(options.device, options.world, group.kernel, group.params);
  } catch (error) {
    // No memory to measure in: the default stays.
    if (error instanceof LimitError) return undefined;
    throw error;
  }
  try {
    return await new Contest(options, group, bench).run(most);
  } finally {
    bench.close();
  }
}

class Contest {
  readonly #options: TuneOptions;
  readonly #group: Group;
  readonly #bench: Workbench;
  readonly #measured: Candidate[];
  readonly #refused: Refusal[];
  readonly #before: Decision | undefined;
  #stopped = false;
  #expected: { readonly arrays: Arrays; readonly exact: boolean } | undefined;

  constructor(options: TuneOptions, group: Group, bench: Workbench) {
    this.#options = options;
    this.#group = group;
    this.#bench = bench;
    this.#before = options.findings.knowledge.decision(group.kernel, group.shapeClass);
    this.#measured = [...(this.#before?.candidates ?? [])];
    this.#refused = [...(this.#before?.refused ?? [])];
  }

  async run(most: number): Promise<Decision | undefined> {
    const { findings } = this.#options;
    const { kernel, params } = this.#group;
    const preset = findings.usable(kernel, params)[0];
    const first = await this.#first();
    if (!first || !preset) return undefined;
    let best = first;
    let next = this.#next(best.choice);
    for (let tried = 1; next && tried < most && !this.#late(); tried++, next = this.#next(best.choice))
      best = await this.#challenge(best, next);
    // The winner of several duels must also win the one against the first, or noise has added up.
    if (best !== first && !(await this.#duel(first, best)).won) best = first;
    return {
      kernel: kernel.name,
      shapeClass: this.#group.shapeClass,
      params,
      ...pickedOf(best.choice),
      default: pickedOf(preset),
      candidates: this.#measured,
      refused: this.#refused,
      remembered: false,
      complete: next === undefined,
    };
  }

  #late(): boolean {
    return this.#options.world.now() >= this.#options.time.deadlineMs;
  }

  /** The first candidate that was neither measured nor refused. */
  #next(best: ChosenVariant): ChosenVariant | undefined {
    const seen = [...this.#measured, ...this.#refused];
    return candidatesOf(this.#options.findings, this.#group, best).find(
      (choice) => !seen.some((one) => samePick(one, pickedOf(choice))),
    );
  }

  /** What was chosen before, or the best guess that is right; measured once alone. */
  async #first(): Promise<Runner | undefined> {
    const { findings } = this.#options;
    const { kernel, params } = this.#group;
    const remembered = this.#before && findings.resolve(kernel, params, this.#before);
    for (const choice of [...(remembered ? [remembered] : []), ...findings.usable(kernel, params)]) {
      if (this.#late() || this.#stopped) return undefined;
      const runner = await this.#admit(choice);
      if (!runner) continue;
      if (!this.#measured.some((one) => samePick(one, pickedOf(choice)))) {
        for (let round = 0; round < ROUNDS && (round === 0 || !this.#late()); round++)
          runner.samples.push(await this.#bench.sample(runner.launch, runner.roughMs));
        this.#record(runner, clockOf(runner.samples));
      }
      return { ...runner, relative: this.#measured.find((one) => samePick(one, pickedOf(choice)))?.relative ?? 1 };
    }
    return undefined;
  }

  async #challenge(best: Runner, choice: ChosenVariant): Promise<Runner> {
    const challenger = await this.#admit(choice);
    if (!challenger) return best;
    if (challenger.roughMs > ABANDON * best.roughMs) {
      this.#measured.push({
        ...pickedOf(choice),
        medianMs: challenger.roughMs,
        relative: (best.relative * challenger.roughMs) / best.roughMs,
        spread: 0,
        clock: 'wall',
        samples: 1,
        abandoned: true,
      });
      return best;
    }
    const { won, relative, samples, clock } = await this.#duel(best, challenger);
    const placed = { ...challenger, samples, relative };
    this.#record(placed, clock);
    return won ? placed : best;
  }

  /** Both run in turns. */
  async #duel(
    best: Runner,
    challenger: Runner,
  ): Promise<{ readonly won: boolean; readonly relative: number; readonly samples: Sample[]; readonly clock: Clock }> {
    const [attacks, defends]: Sample[][] = [[], []];
    for (let round = 0; round < ROUNDS && (round === 0 || !this.#late()); round++) {
      const turns = [
        [challenger, attacks],
        [best, defends],
      ] as const;
      for (const [runner, samples] of round % 2 ? [...turns].reverse() : turns)
        samples.push(await this.#bench.sample(runner.launch, runner.roughMs));
    }
    const clock = clockOf([...attacks, ...defends]);
    const ratio = (by: Clock): number => statistics(attacks, by).medianMs / statistics(defends, by).medianMs;
    const everyRound = attacks.every((sample, round) => timeOf(sample, clock) < timeOf(defends[round], clock));
    return {
      won: everyRound && ratio(clock) < WINS && ratio('wall') < CONTRADICTS,
      relative: best.relative * ratio(clock),
      samples: attacks,
      clock,
    };
  }

  #record({ choice, samples, relative }: Runner, clock: Clock): void {
    this.#measured.push({
      ...pickedOf(choice),
      ...statistics(samples, clock),
      relative,
      clock,
      samples: samples.length,
    });
  }

  /** Compiles, checks and runs it once warm. Undefined if it is refused. */
  async #admit(choice: ChosenVariant): Promise<Runner | undefined> {
    const { findings, check, world, time } = this.#options;
    const { kernel, params } = this.#group;
    const startMs = world.now();
    try {
      const launch = await this.#bench.prepare(choice);
      const got = await this.#bench.outputs(launch);
      if (!this.#expected && !this.#refused.length) time.deadlineMs += world.now() - startMs;
      if (!this.#expected) {
        const exact = kernel.cost(params).flops <= REFERENCE_FLOPS;
        // The first one is the measure of all others, so it must have passed on its own.
        const verdict = exact ? 'right' : await check.verify(kernel, params, choice);
        this.#stopped = verdict === 'unchecked';
        if (verdict !== 'right') return undefined;
        this.#expected = { arrays: exact ? this.#bench.expected() : got, exact };
      }
      const { arrays, exact } = this.#expected;
      const error = errorOf(arrays, got, toleranceOf(kernel, choice.variant) * (exact ? 1 : 2));
      if (!(error <= 1)) {
        this.#refused.push(findings.refuse(kernel, params, pickedOf(choice), wrongness(error), true));
        return undefined;
      }
      if (exact) findings.pass(kernel, params, choice, error, 'plan');
      return { choice, launch, roughMs: (await this.#bench.sample(launch)).wallMs, relative: 1, samples: [] };
    } catch (error) {
      if (error instanceof DeviceLostError) throw error;
      this.#refused.push(
        findings.refuse(
          kernel,
          params,
          pickedOf(choice),
          error instanceof Error ? error.message : String(error),
          false,
        ),
      );
      return undefined;
    }
  }
}

type Clock = 'gpu' | 'wall';

/** Timestamps decide only if they are plausible beside the wall clock: not zero, not more than has passed. */
function clockOf(samples: readonly Sample[]): Clock {
  return samples.every(
    ({ gpuMs, wallMs }) => gpuMs !== undefined && gpuMs > wallMs / 50 && gpuMs <= wallMs * CONTRADICTS,
  )
    ? 'gpu'
    : 'wall';
}

function timeOf({ gpuMs, wallMs }: Sample, clock: Clock): number {
  return clock === 'gpu' ? gpuMs! : wallMs;
}

function statistics(samples: readonly Sample[], clock: Clock): { readonly medianMs: number; readonly spread: number } {
  const sorted = samples.map((sample) => timeOf(sample, clock)).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const medianMs = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { medianMs, spread: medianMs > 0 ? (sorted[sorted.length - 1] - sorted[0]) / medianMs : 0 };
}
