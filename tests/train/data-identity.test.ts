import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { dataDifference } from '../../src/train/data/data-identity.ts';
import { prepareLanguage } from '../../src/train/tasks/language/prepare.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';

const text = 'the whale, the white whale: there she blows, é. '.repeat(30);
const identity = (settings: Record<string, unknown>, files = {}): string =>
  prepareLanguage(parseRunConfig(Object.entries({ context: 8, batch: 2, evalEvery: 0, ...settings })), files)
    .dataIdentity;
const hex = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('the identity of data', () => {
  it('is the SHA-256 of the text and of the tokenizer file', () => {
    expect(identity({ data: 'a.txt', tokenizer: 'bytes' }, { text })).toBe(
      `text:${hex(text)} tokenizer:${hex('{"format":"tabmesh-tokenizer/1","kind":"bytes"}\n')}`,
    );
  });

  it('changes with the text, the tokenizer and the task, and with nothing else', () => {
    const all = [
      identity({ data: 'a.txt', tokenizer: 'bytes' }, { text }),
      identity({ data: 'a.txt', tokenizer: 'bytes' }, { text: text.replace('white', 'black') }),
      identity({ data: 'a.txt', tokenizer: 'chars' }, { text }),
      identity({ data: 'a.txt', tokenizer: 'bpe:260' }, { text }),
      identity({ data: 'copy' }),
      identity({ data: 'sort' }),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(identity({ data: 'b.txt', tokenizer: 'bytes', seed: 3, lr: 0.1, layout: 'dp=2' }, { text })).toBe(all[0]);
  });

  it('says what differs', () => {
    const a = identity({ data: 'a.txt', tokenizer: 'bytes' }, { text });
    expect(dataDifference(a, a)).toBeUndefined();
    expect(dataDifference(a, identity({ data: 'a.txt', tokenizer: 'bytes' }, { text: text.toUpperCase() }))).toBe(
      'the text is not the one that it was trained on',
    );
    expect(dataDifference(a, identity({ data: 'a.txt', tokenizer: 'chars' }, { text }))).toBe(
      'the tokenizer is not the one that it was trained with',
    );
    expect(dataDifference(a, identity({ data: 'copy' }))).toBe('it was trained on a text, now it gets the task copy');
    expect(dataDifference('task:copy', 'task:sort')).toBe('it was trained on the task copy, now it gets sort');
  });
});
