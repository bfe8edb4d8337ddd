// A tokenizer.json of Hugging Face, read with `@huggingface/tokenizers` (no dependencies, no eval, the same in Node and
// in workers). The files are kept as they are, so that a saved model has them byte for byte. Training text gets no
// special tokens: it is cut into windows anyhow. Truncation and padding that a file asks for belong to batches of
// sentences and are left out. Pieces without end (a text without a space) are merged by merge-pieces.ts: the library
// makes an object per character.

import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { FormatError } from '../../base/errors.ts';
import { quote } from '../../base/json.ts';
import { adaptTokenizer, idsOf, isJson, TOKENIZER_JSON } from './huggingface-json.ts';
import type { Json } from './huggingface-json.ts';
import { mergePiece, PAIR } from './merge-pieces.ts';
import { checkIds, tokenArray, TOKENIZER_FORMAT } from './tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Characters of both files together. Llama 3's have 17 million. */
const MAX_CHARACTERS = 40_000_000;
/** Bytes that they may take in a checkpoint, whose header, of at most 100 MB, has them as a string within a string. */
const MAX_CARRIED = 90_000_000;
/** Longer pieces are merged by our own code, with the same result. */
const LONG_PIECE = 2000;

/** The parts of the library's BPE model that a long piece needs. */
interface LibraryBpe {
  bpe(token: string): string[];
  readonly merges: readonly (readonly [string, string])[];
  readonly end_of_word_suffix?: string;
}

/**
 * From the texts of tokenizer.json and, if there is one, tokenizer_config.json. FormatError says what is wrong or not
 * supported.
 */
export function huggingFaceTokenizer(tokenizer: string, config?: string): Tokenizer {
  const length = tokenizer.length + (config?.length ?? 0);
  if (length > MAX_CHARACTERS)
    throw new FormatError(
      TOKENIZER_JSON,
      `has ${length} characters, but at most ${MAX_CHARACTERS} are accepted, so that checkpoints can carry it`,
    );
  // A character takes 7 bytes at most there: an escaped quote of an escaped string 4, a control character 7.
  const carried =
    7 * length <= MAX_CARRIED
      ? 0
      : new TextEncoder().encode(JSON.stringify(JSON.stringify([tokenizer, config]))).length;
  if (carried > MAX_CARRIED)
    throw new FormatError(
      TOKENIZER_JSON,
      `would take ${carried} bytes in a checkpoint, but at most ${MAX_CARRIED} fit; write it without indentation`,
    );
  const json = adaptTokenizer(parseObject(tokenizer, TOKENIZER_JSON));
  const settings = config === undefined ? {} : parseObject(config, 'tokenizer_config.json');
  const known = idsOf(json);
  if (known.size === 0) throw new FormatError(TOKENIZER_JSON, 'the vocabulary is empty');
  const vocab = [...known].reduce((most, id) => Math.max(most, id), 0) + 1;
  const library = build(json, settings);
  const plain = (text: string): readonly number[] =>
    library.encode(text, { add_special_tokens: false }).ids as readonly number[];
  return {
    kind: 'huggingface',
    vocab,
    prefix: prefixOf(library, settings),
    encode(text) {
      const ids = guarded(() => plain(text), 'the text cannot be cut into tokens');
      const unknown = ids.findIndex((id) => !Number.isInteger(id));
      if (unknown >= 0)
        throw new FormatError(
          TOKENIZER_JSON,
          `has no token for ${quote(library.tokenize(text)[unknown] ?? '')} and no token for what is unknown`,
        );
      return tokenArray(vocab, ids);
    },
    decode(ids) {
      checkIds(ids, vocab);
      // The vocabulary may have holes; a model can draw them, and they stand for nothing.
      const standing = Array.from(ids).filter((id) => known.has(id));
      if (standing.length === 0) return '';
      // Exactly what the tokens stand for: no special token is skipped and no space before a full stop taken away.
      return library.decode(standing, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
    },
    toJSON: () => ({
      format: TOKENIZER_FORMAT,
      kind: 'huggingface',
      tokenizer,
      ...(config === undefined ? {} : { config }),
    }),
  };
}

function parseObject(text: string, name: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(name, `is no JSON (${error instanceof Error ? error.message : String(error)})`);
  }
  if (!isJson(value)) throw new FormatError(name, 'expected a JSON object');
  return value;
}

function guarded<T>(work: () => T, what: string): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof FormatError) throw error;
    throw new FormatError(TOKENIZER_JSON, `${what} (${error instanceof Error ? error.message : String(error)})`);
  }
}

function build(json: Json, settings: Json): LibraryTokenizer {
  const { type, unk_token: unknown } = json['model'] as { type: string; unk_token?: string };
  // The library takes the unknown token of a WordLevel model from the other file.
  const library = guarded(
    () => new LibraryTokenizer(json, type === 'WordLevel' ? { ...settings, unk_token: unknown } : settings),
    'this tokenizer cannot be read',
  );
  if (type === 'BPE') shortenLongPieces(library.model as unknown as LibraryBpe);
  return library;
}

function shortenLongPieces(model: LibraryBpe): void {
  const ofLibrary = model.bpe.bind(model);
  let table:
    | { readonly ids: Map<string, number>; readonly ranks: Map<number, number>; readonly merged: readonly number[] }
    | undefined;
  const names: string[] = [];
  const idOf = (ids: Map<string, number>, name: string): number => {
    let id = ids.get(name);
    if (id === undefined) {
      ids.set(name, (id = names.length));
      names.push(name);
    }
    return id;
  };
  const makeTable = () => {
    const ids = new Map<string, number>();
    const ranks = new Map<number, number>();
    const merged = model.merges.map(([left, right], rank) => {
      ranks.set(idOf(ids, left) * PAIR + idOf(ids, right), rank);
      return idOf(ids, left + right);
    });
    return { ids, ranks, merged };
  };
  model.bpe = (token) => {
    if (token.length <= LONG_PIECE) return ofLibrary(token);
    const { ids, ranks, merged } = (table ??= makeTable());
    const symbols = Array.from(token);
    if (model.end_of_word_suffix) symbols[symbols.length - 1] += model.end_of_word_suffix;
    return Array.from(
      mergePiece(
        symbols.map((symbol) => idOf(ids, symbol)),
        ranks,
        (rank) => merged[rank]!,
      ),
      (id) => names[id]!,
    );
  };
}

/** What the files put before a text, such as the token that begins one. */
function prefixOf(library: LibraryTokenizer, settings: Json): readonly number[] {
  const { add_bos_token: adds, bos_token: bos } = settings;
  if (adds === false) return [];
  if (adds === true) {
    const id = library.token_to_id(typeof bos === 'string' ? bos : isJson(bos) ? String(bos['content']) : '');
    return id === undefined ? [] : [id];
  }
  const [all, own] = guarded(
    () => [true, false].map((special) => library.encode('a', { add_special_tokens: special }).ids as readonly number[]),
    'the post-processor cannot be read',
  );
  const begin = own!.length === 0 ? 0 : all!.findIndex((_, i) => own!.every((id, k) => all![i + k] === id));
  return all!.slice(0, Math.max(0, begin));
}
