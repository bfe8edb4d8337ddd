// Small tokenizer.json files of the kinds that our families have. Their ids follow from the vocabulary by hand.

/** GPT-2's alphabet: a printable character for every byte, in the order of the bytes. */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  let extra = 256;
  return Array.from({ length: 256 }, (_, byte) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
      ? String.fromCharCode(byte)
      : String.fromCharCode(extra++),
  );
})();

/**
 * Byte-level BPE as GPT-2's: ids 0 to 255 are the bytes, then the merges th, the, Ġthe, ha, aa, aaaa, then
 * <|endoftext|>.
 */
export function gpt2Like(change: Record<string, unknown> = {}): Record<string, unknown> {
  const merges = [
    ['t', 'h'],
    ['th', 'e'],
    ['Ġ', 'the'],
    ['h', 'a'],
    ['a', 'a'],
    ['aa', 'aa'],
  ] as const;
  const vocab = Object.fromEntries(
    [...BYTE_CHARACTERS, ...merges.map(([a, b]) => a + b)].map((token, id) => [token, id]),
  );
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      {
        id: 262,
        content: '<|endoftext|>',
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      vocab,
      merges: merges.map(([a, b]) => `${a} ${b}`),
    },
    ...change,
  };
}

/**
 * SentencePiece BPE with byte fallback as Llama 2's: <unk> <s> </s>, then <0x00> to <0xFF> from 3, then ▁ (259), a, b,
 * ▁a (262), ab (263), ▁▁ (264).
 */
export function llamaLike(change: Record<string, unknown> = {}): Record<string, unknown> {
  const special = ['<unk>', '<s>', '</s>'];
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const vocab = Object.fromEntries(
    [...special, ...bytes, '▁', 'a', 'b', '▁a', 'ab', '▁▁'].map((token, id) => [token, id]),
  );
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      vocab,
      merges: ['▁ a', 'a b', '▁ ▁'],
    },
    ...change,
  };
}
