// What the preparation of a run takes and makes, whatever its task.

import type { WeightSource } from '../../model/param-spec.ts';
import type { Checkpoint } from '../checkpoint.ts';
import type { RunConfig } from '../run-config.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { Task, TaskData } from './task.ts';

/** Contents of the files of a run; which ones are needed depends on the config. */
export interface RunFiles {
  /** config.json and model.safetensors of a model folder. */
  readonly modelConfig?: string;
  readonly weights?: Uint8Array<ArrayBuffer>;
  /** tokens.safetensors. */
  readonly tokens?: Uint8Array<ArrayBuffer>;
  /** The text to learn; the bytes of its file where they are still to be read. */
  readonly text?: string | Uint8Array<ArrayBuffer>;
  /** A model's own tokenizer: tokenizer.json of Hugging Face, or ours. */
  readonly tokenizer?: string;
  /** tokenizer_config.json beside the former. */
  readonly tokenizerConfig?: string;
  /**
   * A checkpoint that the run goes on from. Model and tokenizer are its own; what is given of them, and the data, must
   * agree with it.
   */
  readonly checkpoint?: Uint8Array<ArrayBuffer>;
}

/** Of any task. */
export interface PreparedRun {
  readonly task: Task;
  readonly dataset: TaskData;
  readonly weights: WeightSource;
  /** The network as JSON, for checkpoints. */
  readonly modelConfig: string;
  /** What the run learns from, for checkpoints. */
  readonly dataIdentity: string;
  /** What was chosen or left out on the way, a sentence each, for whoever watches. */
  readonly notes: readonly string[];
  /** What the checkpoint of the files holds. */
  readonly resumed?: Checkpoint;
  /** Cuts and joins a text; absent where the data mean none. */
  readonly tokenizer?: Tokenizer | undefined;
}

export interface PrepareOptions {
  /** Hears of what takes long. */
  readonly onProgress?: (text: string) => void;
  /** What errors call the file of tokens: its path, where there is one. */
  readonly tokensName?: string;
}

/**
 * What tasks/x/prepare.ts exports as `prepare`: everything that a trainer needs, checked before a device is touched.
 * ConfigError, FormatError or LayoutError says which file or setting is wrong.
 */
export type PrepareTask = (config: RunConfig, given: RunFiles, options: PrepareOptions) => PreparedRun;
