// The library in a browser: the same ids, the same bytes of the files, and no code made from strings.

import { expect, it } from 'vitest';
import { trainBpe } from '../../src/train/text/bpe.ts';
import { parseTokenizer, formatTokenizer } from '../../src/train/text/tokenizer-file.ts';
import { readText } from '../../src/train/text/read-text.ts';
import { gpt2Like, llamaLike } from '../support/huggingface-tokenizers.ts';

it('reads a tokenizer.json as Node does', () => {
  const gpt2 = parseTokenizer(JSON.stringify(gpt2Like()));
  expect([...gpt2.encode('the the<|endoftext|>é')]).toEqual([257, 258, 262, 0xc3, 0xa9]);
  expect(gpt2.decode([257, 258, 0xc3])).toBe('the the\ufffd');
  const llama = parseTokenizer(formatTokenizer(parseTokenizer(JSON.stringify(llamaLike()))));
  expect([...llama.encode('ab b')]).toEqual([262, 261, 259, 261]);
  expect(llama.prefix).toEqual([1]);
});

it('a long piece does not overflow the stack of this engine', { timeout: 120_000 }, () => {
  const text = '日本語のとても長い文章'.repeat(100_000);
  const t = trainBpe(text, 300);
  expect(t.decode(t.encode(text)) === text).toBe(true);
});

it('refuses what is no text', () => {
  expect(() => readText(Uint8Array.of(0xff, 0xfe, 97, 0), 'a.txt')).toThrow('its byte order mark says UTF-16LE');
});
