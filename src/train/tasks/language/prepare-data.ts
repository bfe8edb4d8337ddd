// From the files of a run to its data: the tokenizer that fits model and settings, and the dataset that it makes of the
// text; or tokens, or a task. A model folder speaks the language of its own tokenizer: nothing else is put in its place
// unless somebody asks for it by name.

import { ConfigError, FormatError } from '../../../base/errors.ts';
import { quote } from '../../../base/json.ts';
import { readSafetensors } from '../../../base/safetensors.ts';
import type { ModelConfig } from '../../../model/config.ts';
import { taskIdentity, textIdentity, tokensIdentity } from '../../data/data-identity.ts';
import { textDataset } from '../../data/dataset.ts';
import type { Dataset } from '../../data/dataset.ts';
import type { RunConfig } from '../../run-config.ts';
import type { RunFiles } from '../prepared.ts';
import { isSynthetic, SYNTHETIC_NAMES, syntheticDataset } from '../../data/synthetic/registry.ts';
import { TOKENS_FILE, tokensDataset } from '../../data/tokens-dataset.ts';
import { checkText, readText } from '../../text/read-text.ts';
import { makeTokenizer, parseTokenizer, TOKENIZER_CONFIG, tokenizerFiles } from '../../text/tokenizer-file.ts';
import { TOKENIZER_JSON } from '../../text/huggingface-json.ts';
import type { Tokenizer, Tokens } from '../../text/tokenizer.ts';

export interface PreparedData {
  readonly dataset: Dataset;
  /** Cuts and joins the text; undefined where tokens mean no text. */
  readonly tokenizer: Tokenizer | undefined;
  /**
   * What a saved model folder gets beside its weights, by name: the tokenizer's files, a folder's own byte for byte.
   */
  readonly tokenizerFiles: ReadonlyMap<string, string>;
  /** What the run learns from, for checkpoints; see data-identity.ts. */
  readonly dataIdentity: string;
  /** What was chosen or left out on the way, a sentence each, for whoever watches. */
  readonly notes: readonly string[];
}

export interface DataOptions {
  readonly config: RunConfig;
  readonly files: RunFiles;
  /** Tokens per row; null for as many as the file of tokens has. */
  readonly context: number | null;
  /** The config of a model folder; undefined for a preset, whose vocabulary comes from the data. */
  readonly folder: ModelConfig | undefined;
  readonly onProgress?: (text: string) => void;
  readonly tokensName?: string;
}

export function prepareData(options: DataOptions): PreparedData {
  const { config, context } = options;
  if (config.data === 'tokens') return fromTokens(options);
  if (!isSynthetic(config.data)) return fromText(options);
  const dataset = syntheticDataset({
    task: config.data,
    context: context ?? 0,
    batch: config.batch,
    seed: config.seed,
  });
  return {
    dataset,
    tokenizer: undefined,
    tokenizerFiles: keptFiles(options.files),
    dataIdentity: taskIdentity(config.data),
    notes: [],
  };
}

function fromTokens({ config, files, folder, tokensName = TOKENS_FILE }: DataOptions): PreparedData {
  if (!files.tokens) throw new ConfigError('data', `tokens: the file ${TOKENS_FILE} is missing; name it with --tokens`);
  const dataset = tokensDataset(readSafetensors(files.tokens, { label: tokensName }), folder?.vocab, tokensName);
  if (dataset.steps < config.steps) {
    throw new ConfigError(
      'steps',
      `is ${config.steps}, but ${tokensName} has ${dataset.steps} step${dataset.steps === 1 ? '' : 's'} ` +
        `([${dataset.steps}, ${dataset.batch}, ${dataset.context + 1}]); use steps=${dataset.steps} or a file with more`,
    );
  }
  const notes = folder
    ? []
    : [`the vocabulary is ${dataset.vocab}: the largest id in ${tokensName} is ${dataset.vocab - 1}`];
  let tokenizer: Tokenizer | undefined;
  try {
    tokenizer = files.tokenizer === undefined ? undefined : parseTokenizer(files.tokenizer, files.tokenizerConfig);
  } catch (error) {
    // The tokens are there already: only the samples need it.
    if (!(error instanceof FormatError)) throw error;
    notes.push(`no samples: ${error.message}`);
  }
  checkVocabulary(tokenizer, folder);
  return { dataset, tokenizer, tokenizerFiles: keptFiles(files), dataIdentity: tokensIdentity(files.tokens), notes };
}

function fromText({ config, files, context, folder, onProgress }: DataOptions): PreparedData {
  const { data, batch, seed } = config;
  if (files.text === undefined)
    throw new ConfigError(
      'data',
      `"${data}" could not be read; expected moby-dick, ${SYNTHETIC_NAMES.join(', ')}, tokens or a text file`,
    );
  const own = files.tokenizer === undefined ? undefined : parseTokenizer(files.tokenizer, files.tokenizerConfig);
  const name = ownOrNamed(config, own, folder);
  const { text, notes } = name === 'bytes' ? { text: files.text, notes: [] } : textOf(files.text, data);
  if (text.length === 0) throw new ConfigError('data', `'${data}' is empty; expected a text`);
  const tokenizer = own ?? makeTokenizer(name, text as string, onProgress);
  checkVocabulary(tokenizer, folder);
  const asked = /^bpe:(\d+)$/.exec(config.tokenizer)?.[1];
  const fewer =
    asked !== undefined && tokenizer.vocab < Number(asked)
      ? [
          `${config.tokenizer} is a vocabulary of ${tokenizer.vocab}: ${own ? "the model's own tokenizer has no more" : 'no further pair of tokens stands twice in this text'}`,
        ]
      : [];
  const tokens = tokensOf(text, tokenizer);
  if (tokens.length === 0)
    throw new ConfigError('data', `the tokenizer makes no token of '${data}'; choose another text or tokenizer`);
  return {
    dataset: textDataset({
      tokens,
      vocab: tokenizer.vocab,
      context: context ?? 0,
      batch,
      seed,
      evaluates: config.evalEvery > 0,
    }),
    tokenizer,
    tokenizerFiles: own ? keptFiles(files) : tokenizerFiles(tokenizer),
    dataIdentity: textIdentity(text, tokenizer),
    notes: [...notes, ...fewer],
  };
}

/**
 * The kind of the model's own tokenizer, or the name of the one to make. ConfigError where it contradicts the settings,
 * or nobody has chosen one.
 */
function ownOrNamed(
  { tokenizer: name, model }: RunConfig,
  own: Tokenizer | undefined,
  folder: ModelConfig | undefined,
): string {
  if (own) {
    // Fewer merges than asked for are all that its text had.
    const same =
      name === 'auto' ||
      name === own.kind ||
      (own.kind === 'bpe' && Number(/^bpe:(\d+)$/.exec(name)?.[1]) >= own.vocab);
    if (!same)
      throw new ConfigError(
        'tokenizer',
        `${quote(name)} contradicts the model's own tokenizer, ${describe(own)}; leave the setting out`,
      );
    return own.kind;
  }
  if (name !== 'auto') return name;
  if (!folder) return 'chars';
  throw new ConfigError(
    'tokenizer',
    `the model "${model}" has none (${TOKENIZER_JSON} or tokenizer.tabmesh.json), so its ${folder.vocab} tokens have no meaning here; ` +
      (folder.vocab >= 256
        ? 'put its tokenizer.json beside it, or train it on bytes with --tokenizer bytes'
        : `put its tokenizer.json beside it; --tokenizer bytes needs a vocabulary of 256`),
  );
}

function textOf(text: string | Uint8Array, name: string): { readonly text: string; readonly notes: readonly string[] } {
  if (typeof text !== 'string') return readText(text, name);
  checkText(text, name);
  return { text, notes: [] };
}

/** Bytes are their own tokens, whether they are a text or not. */
function tokensOf(text: string | Uint8Array, tokenizer: Tokenizer): Tokens | Uint8Array {
  return typeof text === 'string' ? tokenizer.encode(text) : text;
}

function checkVocabulary(tokenizer: Tokenizer | undefined, folder: ModelConfig | undefined): void {
  if (!tokenizer || !folder || tokenizer.vocab <= folder.vocab) return;
  throw new ConfigError(
    'tokenizer',
    `${describe(tokenizer)}, has more tokens than the model, whose vocabulary is ${folder.vocab} (vocab_size in config.json); ` +
      'use the tokenizer that the model was trained with',
  );
}

function describe({ kind, vocab }: Tokenizer): string {
  const name =
    kind === 'huggingface' ? TOKENIZER_JSON : kind === 'bytes' ? 'bytes' : kind === 'chars' ? 'characters' : 'BPE';
  return `${name} with ${vocab} tokens`;
}

function keptFiles({ tokenizer, tokenizerConfig }: RunFiles): ReadonlyMap<string, string> {
  if (tokenizer === undefined) return new Map();
  try {
    return tokenizerFiles(parseTokenizer(tokenizer, tokenizerConfig));
  } catch (error) {
    // What cannot be read here is copied all the same.
    if (!(error instanceof FormatError)) throw error;
    return new Map([
      [TOKENIZER_JSON, tokenizer],
      ...(tokenizerConfig === undefined ? [] : [[TOKENIZER_CONFIG, tokenizerConfig] as const]),
    ]);
  }
}
