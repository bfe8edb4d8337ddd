// A tokenizer.json as the library reads it right. Where `@huggingface/tokenizers` does less than the file asks for, the
// part is put in terms that it follows exactly (white space and digits of all scripts, SentencePiece's words); what has
// no such terms is a FormatError that names it. Source: https://github.com/huggingface/tokenizers (the Rust library,
// which defines the format).

import { FormatError } from '../../base/errors.ts';
import { quote } from '../../base/json.ts';

export type Json = Readonly<Record<string, unknown>>;
export const TOKENIZER_JSON = 'tokenizer.json';

const GPT2_PIECES = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const PUNCTUATION = '\\p{P}$+<=>\\^`|~';
/** Ids stay below 2^21: more than any vocabulary in use, and a pair of them is one exact number. */
const MAX_IDS = 2 ** 21;

export function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refuse(what: string): never {
  throw new FormatError(
    TOKENIZER_JSON,
    `${what} is not supported; cut the text into tokens elsewhere and train with --tokens`,
  );
}

/** The file in terms of the library; FormatError for what it cannot do or what is no tokenizer. */
export function adaptTokenizer(json: Json): Json {
  const model = adaptModel(json['model']);
  const added = json['added_tokens'] ?? [];
  if (!Array.isArray(added)) throw new FormatError(TOKENIZER_JSON, 'added_tokens must be a list');
  for (const token of added as readonly unknown[]) {
    if (!isJson(token) || typeof token['content'] !== 'string' || !isId(token['id']))
      throw new FormatError(TOKENIZER_JSON, 'an added token needs a content and an id');
    if (token['single_word'] === true) refuse(`the added token ${quote(token['content'])} with single_word`);
  }
  const normalizer = adaptEach(json['normalizer'], 'normalizers', adaptNormalizer);
  const pre =
    json['pre_tokenizer'] == null
      ? sentencePieceWords(model, null)
      : adaptEach(json['pre_tokenizer'], 'pretokenizers', (part) => adaptPreTokenizer(part, model));
  return {
    model,
    added_tokens: added,
    normalizer,
    pre_tokenizer: pre,
    post_processor: json['post_processor'] ?? null,
    decoder: adaptEach(json['decoder'], 'decoders', adaptDecoder),
  };
}

/** One more than the largest id, over the model's vocabulary and the added tokens; and which ids there are. */
export function idsOf({ model, added_tokens: added }: Json): ReadonlySet<number> {
  const { vocab } = model as { vocab: Json | readonly unknown[] };
  const ids = new Set<number>(Array.isArray(vocab) ? vocab.keys() : Object.values(vocab as Record<string, number>));
  for (const { id } of added as readonly { id: number }[]) ids.add(id);
  return ids;
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < MAX_IDS;
}

function adaptModel(model: unknown): Json {
  if (!isJson(model)) throw new FormatError(TOKENIZER_JSON, 'expected an object with a model');
  const { vocab } = model;
  // Files before 2021 do not name the type.
  const type =
    model['type'] ?? (Array.isArray(vocab) ? 'Unigram' : model['merges'] !== undefined ? 'BPE' : 'WordPiece');
  if (type === 'Unigram' ? !Array.isArray(vocab) : !isJson(vocab))
    throw new FormatError(TOKENIZER_JSON, `the ${String(type)} model has no vocab`);
  if (!Array.isArray(vocab))
    for (const [token, id] of Object.entries(vocab as Json))
      if (!isId(id))
        throw new FormatError(TOKENIZER_JSON, `the token ${quote(token)} has no id from 0 to ${MAX_IDS - 1}`);
  if (type === 'BPE') {
    if (!Array.isArray(model['merges'])) throw new FormatError(TOKENIZER_JSON, 'the BPE model has no merges');
    if (typeof model['dropout'] === 'number' && model['dropout'] > 0) refuse(`BPE dropout (${model['dropout']})`);
    if (model['continuing_subword_prefix']) refuse('BPE with a continuing_subword_prefix');
  } else if (type === 'Unigram') {
    if (model['byte_fallback'] === true) refuse('Unigram with byte_fallback');
  } else if (type !== 'WordPiece' && type !== 'WordLevel') refuse(`the model ${quote(String(type))}`);
  return { ...model, type };
}

/** `part`, or each member of a Sequence of them. */
function adaptEach(part: unknown, members: string, adapt: (part: Json) => Json): Json | null {
  if (part === null || part === undefined) return null;
  if (!isJson(part)) throw new FormatError(TOKENIZER_JSON, 'a normalizer, pre-tokenizer or decoder must be an object');
  if (part['type'] !== 'Sequence') return adapt(part);
  const list = part[members];
  if (!Array.isArray(list)) throw new FormatError(TOKENIZER_JSON, `a Sequence has no ${members}`);
  return { ...part, [members]: list.map((member) => adaptEach(member, members, adapt)) };
}

/** The library hands `content` to String.replaceAll, where $ is special. */
function plainContent(part: Json): Json {
  return typeof part['content'] === 'string' ? { ...part, content: part['content'].replaceAll('$', '$$$$') } : part;
}

const NORMALIZERS = ['BertNormalizer', 'NFC', 'NFD', 'NFKC', 'NFKD', 'Strip', 'StripAccents', 'Lowercase', 'Prepend'];

function adaptNormalizer(part: Json): Json {
  if (part['type'] === 'Replace') return plainContent(part);
  if (!NORMALIZERS.includes(String(part['type']))) refuse(`the normalizer ${quote(String(part['type']))}`);
  return part;
}

/** The parts of a text that match. */
const matches = (regex: string): Json => ({
  type: 'Split',
  pattern: { Regex: regex },
  behavior: 'Removed',
  invert: true,
});
const isolated = (pattern: unknown): Json => ({ type: 'Split', pattern, behavior: 'Isolated', invert: false });
const inOrder = (...pretokenizers: readonly Json[]): Json => ({ type: 'Sequence', pretokenizers });

function adaptPreTokenizer(part: Json, model: Json): Json {
  switch (part['type']) {
    case 'BertPreTokenizer':
      return part;
    case 'Whitespace':
      return matches('\\w+|[^\\w\\s]+');
    case 'WhitespaceSplit':
      return matches('\\S+');
    case 'Digits':
      return matches(part['individual_digits'] === true ? '\\p{N}|\\P{N}+' : '\\p{N}+|\\P{N}+');
    case 'ByteLevel':
      return part['use_regex'] === false || part['add_prefix_space'] === true
        ? part
        : inOrder(isolated({ Regex: GPT2_PIECES }), { ...part, use_regex: false });
    case 'Punctuation': {
      const behavior = part['behavior'] ?? 'Isolated';
      if (behavior !== 'Isolated' && behavior !== 'Contiguous')
        refuse(`the pre-tokenizer Punctuation with behavior ${quote(String(behavior))}`);
      return matches(`[${PUNCTUATION}]${behavior === 'Contiguous' ? '+' : ''}|[^${PUNCTUATION}]+`);
    }
    case 'Split':
      return adaptSplit(part);
    case 'Metaspace':
      return adaptMetaspace(part, model);
    default:
      return refuse(`the pre-tokenizer ${quote(String(part['type']))}`);
  }
}

function adaptSplit(part: Json): Json {
  const { behavior, pattern } = part;
  if (behavior === 'Isolated') return isolated(pattern);
  if (behavior !== 'Removed') refuse(`the pre-tokenizer Split with behavior ${quote(String(behavior))}`);
  const text = isJson(pattern) ? pattern['String'] : undefined;
  return part['invert'] !== true && typeof text === 'string'
    ? { ...part, pattern: { Regex: text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&') } }
    : part;
}

function adaptMetaspace(part: Json, model: Json): Json {
  const { replacement = '▁', add_prefix_space: prefix } = part;
  const own = {
    ...part,
    replacement,
    prepend_scheme: part['prepend_scheme'] ?? (prefix === false ? 'never' : 'always'),
  };
  if (typeof replacement !== 'string' || [...replacement].length !== 1)
    throw new FormatError(TOKENIZER_JSON, 'the replacement of Metaspace must be one character');
  if (part['split'] === false) {
    const words = sentencePieceWords(model, own, replacement);
    return words ?? own;
  }
  return inOrder(own, matches(`${replacement}[^${replacement}]*|[^${replacement}]+`));
}

/**
 * SentencePiece's BPE has no pieces: the whole text is one. Where no merge joins a character with a following ▁, no
 * merge crosses the place between them, so the text may be cut there: the same tokens, found word by word.
 */
function sentencePieceWords(model: Json, before: Json | null, space = '▁'): Json | null {
  if (model['type'] !== 'BPE' || model['ignore_merges'] === true || model['end_of_word_suffix']) return before;
  const within = new RegExp(`[^${space}]${space}`, 'u');
  const merges = model['merges'] as readonly unknown[];
  let found = false;
  for (const merge of merges) {
    const joined = Array.isArray(merge) ? merge.join('') : String(merge).replace(' ', '');
    if (within.test(joined)) return before;
    found ||= joined.includes(space);
  }
  if (!found) return before;
  const cut = matches(`${space}+[^${space}]*|[^${space}]+`);
  return before ? inOrder(before, cut) : cut;
}

function adaptDecoder(part: Json): Json {
  if (part['type'] === 'Replace') return plainContent(part);
  if (part['type'] !== 'Metaspace') return part;
  const keeps =
    part['prepend_scheme'] === 'never' || (part['prepend_scheme'] === undefined && part['add_prefix_space'] === false);
  return keeps ? { type: 'Replace', pattern: { String: part['replacement'] ?? '▁' }, content: ' ' } : part;
}
