// What happens beside the training, on the weights as they are: evaluations and samples. Every rank makes the same
// calls at the same step. What fails here for a reason that is the same on all ranks (data, tokenizer, logits that
// nothing can be drawn from) is told as a note, and the training goes on; a lost device or peer ends the run here as
// everywhere.

import { FormatError, InternalError, SampleError } from '../../base/errors.ts';
import { RandomStream } from '../../base/random.ts';
import { allGather } from '../../collectives/all-gather.ts';
import type { Group } from '../../collectives/group.ts';
import { shareAsks } from './ask.ts';
import type { SampleAsk } from './ask.ts';
import { Generator } from './generate.ts';
import { isLanguage } from '../tasks/language/prepare.ts';
import type { PreparedRun } from '../prepare.ts';
import type { RunEvent } from '../run.ts';
import { sampleToken } from './sampling.ts';
import { sentence } from './telling.ts';
import type { Trainer } from '../trainer.ts';

export interface BesideOptions {
  readonly trainer: Trainer;
  /** Compiles what samples need; whoever gives it keeps what comes. */
  readonly generator: () => Promise<Generator>;
  readonly prepared: PreparedRun;
  readonly seed: number;
  /** Whether samples may be asked for; without a tokenizer there are none. */
  readonly wantsSamples: boolean;
  readonly sampleTokens: number;
  /** What somebody at this rank wants the model to write next. */
  readonly takeAsk?: () => SampleAsk | undefined;
  /** See RunOptions. */
  readonly holdDuring?: <T>(work: Promise<T>) => Promise<T>;
  readonly tell: (event: RunEvent) => void;
}

const EVAL_BATCHES = 4;
const SAMPLING = { temperature: 0.8, topK: 40 };

export class Beside {
  readonly #options: BesideOptions;
  #samples = { step: -1, count: 0 };
  /** What samples need, or why this rank cannot make it. */
  #compiled: Promise<Generator | string> | undefined;
  /** Absent: the ranks have not agreed yet. */
  #agreed: { readonly generator: Generator | undefined } | undefined;

  constructor(options: BesideOptions) {
    this.#options = options;
  }

  /** Compiles what samples need: beside the training, unless somebody waits for it. Never rejects. */
  async begin(): Promise<void> {
    const { generator, prepared, wantsSamples } = this.#options;
    if (prepared.tokenizer && wantsSamples) this.#compiled ??= generator().catch((error: unknown) => sentence(error));
    await this.#compiled;
  }

  /** Tells the mean loss of the first held-out batches, and of a task which share of all their answers is right. */
  async evaluate(): Promise<void> {
    const {
      trainer,
      prepared: { dataset },
      tell,
    } = this.#options;
    const losses: number[] = [];
    let count = 0;
    const total = { answers: 0, correct: 0 };
    for (let i = 0; i < Math.min(EVAL_BATCHES, dataset.evalBatches); i++) {
      const batch = this.#try('the held-out data cannot be read', () => dataset.evalAt(i));
      if (!batch) return;
      const { loss, tokens, score } = await trainer.evaluate(batch, dataset.answersOf?.(batch));
      if (tokens > 0) losses.push(loss);
      count += tokens;
      total.answers += score?.answers ?? 0;
      total.correct += score?.correct ?? 0;
    }
    const loss = losses.reduce((sum, value) => sum + value, 0) / losses.length;
    if (count === 0) this.#note('the held-out data has no target that counts, so there is no held-out loss');
    else if (!Number.isFinite(loss))
      this.#note(`the held-out loss is ${loss}: the activations of the held-out data leave the range of f32`);
    else {
      const accuracy = total.answers > 0 ? { accuracy: total.correct / total.answers } : {};
      tell({ kind: 'evaluation', step: trainer.step, loss, ...accuracy });
    }
  }

  /** Somebody asked for samples: those that the ranks want, or a plain one when none wants more. */
  async asked(): Promise<void> {
    const { trainer, takeAsk } = this.#options;
    const asks = await shareAsks(trainer.options.mesh.world, takeAsk?.());
    if (asks.length === 0) await this.sample();
    for (const ask of asks) await this.sample(ask);
  }

  /**
   * Tells a text. The draws depend on the seed, the step, the number of the sample at that step and the place in the
   * text alone, so every layout draws alike from equal logits.
   */
  async sample(ask?: SampleAsk): Promise<void> {
    const { trainer, prepared, seed, tell } = this.#options;
    const { tokenizer } = prepared;
    const sampleTokens = ask?.tokens ?? this.#options.sampleTokens;
    const sampling = ask ?? SAMPLING;
    const generator = await this.#agree();
    if (!generator || !tokenizer) {
      this.#note('there is no sample: the data has no tokenizer, or samples could not be prepared');
      return;
    }
    const random = new RandomStream(seed, `sample ${trainer.step}${this.#again()}`);
    const prompt = this.#try('there is no sample', () =>
      ask?.prompt ? [...(tokenizer.prefix ?? []), ...tokenizer.encode(ask.prompt)] : promptOf(prepared),
    );
    if (!prompt) return;
    let tokens: readonly number[];
    try {
      // A model may know more tokens than the tokenizer, which has no words for the others.
      tokens = await generator.generate(prompt, sampleTokens, {
        vocab: tokenizer.vocab,
        choose: (logits, i) => sampleToken(logits, sampling, random.uniform(i)),
      });
    } catch (error) {
      if (!(error instanceof SampleError)) throw error;
      this.#note(`there is no sample (${error.message})`);
      return;
    }
    const text = this.#try('the sample cannot be decoded', () => tokenizer.decode(tokens));
    if (text !== undefined)
      tell({ kind: 'sample', step: trainer.step, text, ...(ask?.prompt ? { prompt: ask.prompt } : {}) });
  }

  /** What samples need. If one rank cannot make it, all ranks do without; they agree once, at the first sample. */
  async #agree(): Promise<Generator | undefined> {
    if (this.#agreed) return this.#agreed.generator;
    const {
      trainer: {
        options: { mesh },
        step,
      },
      tell,
      holdDuring = (work) => work,
    } = this.#options;
    void this.begin();
    if (!this.#compiled) {
      this.#agreed = { generator: undefined };
      return undefined;
    }
    // Compiling takes as long as it takes.
    const compiled = await holdDuring(this.#compiled);
    const own = compiled instanceof Generator ? compiled : undefined;
    const unable = await firstUnable(mesh.world, own !== undefined);
    this.#agreed = { generator: unable === undefined ? own : undefined };
    if (unable !== undefined)
      tell({
        kind: 'note',
        step,
        text: `there will be no samples: rank ${unable} cannot prepare them${mesh.rank === unable ? ` (${String(compiled)})` : ''}`,
      });
    return this.#agreed.generator;
  }

  /** Who asks twice at one step gets another text; the first of a step is that of every run. */
  #again(): string {
    const { step } = this.#options.trainer;
    this.#samples = this.#samples.step === step ? { step, count: this.#samples.count + 1 } : { step, count: 0 };
    return this.#samples.count > 0 ? ` ${this.#samples.count}` : '';
  }

  /** For what has the same outcome on every rank. */
  #try<T>(what: string, work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.#note(`${what} (${sentence(error)})`);
      return undefined;
    }
  }

  #note(text: string): void {
    this.#options.tell({ kind: 'note', step: this.#options.trainer.step, text });
  }
}

/**
 * What the tokenizer puts before a text, and a new line; where it knows only the text's characters, or makes nothing of
 * it, a token of the data.
 */
function promptOf(prepared: PreparedRun): readonly number[] {
  if (!isLanguage(prepared)) throw new InternalError('samples are of language models');
  const { tokenizer, dataset } = prepared;
  try {
    const prompt = [...(tokenizer!.prefix ?? []), ...tokenizer!.encode('\n')];
    if (prompt.length) return prompt;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
  }
  return [dataset.batchAt(0).tokens[0]!];
}

/** The first rank that is not able; the same on every rank. */
async function firstUnable(world: Group, able: boolean): Promise<number | undefined> {
  const all = new Uint32Array(world.size);
  await allGather(
    world,
    Uint32Array.of(able ? 1 : 0),
    Array.from({ length: world.size + 1 }, (_, i) => i),
    all,
  );
  const odd = all.findIndex((told) => told > 1);
  if (odd >= 0) throw world.accuse(odd, `it says ${all[odd]} to whether it can make samples, neither 0 nor 1`);
  const at = all.indexOf(0);
  return at < 0 ? undefined : at;
}
