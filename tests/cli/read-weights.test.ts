// Weights of a model folder: one file or shards, and what is said when they are not there, cut off, or something else.

import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  readSafetensors,
  writeSafetensors,
  type SafetensorsFile,
  type WriteEntry,
} from '../../src/base/safetensors.ts';
import { readModelWeights } from '../../src/cli/train/read-weights.ts';
import { parseModelConfig } from '../../src/model/config.ts';
import { checkWeights } from '../../src/model/huggingface/weights-file.ts';

const GOLDEN = join(import.meta.dirname, '../golden/models/llama-tiny');
const whole = new Uint8Array(readFileSync(join(GOLDEN, 'model.safetensors')));
const { tensors } = readSafetensors(whole);
const names = [...tensors.keys()];
const INDEX = 'model.safetensors.index.json';
const shardName = (i: number, of = 3): string => `model-0000${i + 1}-of-0000${of}.safetensors`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tabmesh-weights-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const put = (name: string, content: string | Uint8Array): void => writeFileSync(join(folder, name), content);
const read = (): Uint8Array<ArrayBuffer> => readModelWeights(folder, '--model');

/** The golden weights in three shards, dealt round, with an index as save_pretrained writes it. */
function putShards(edit: (map: Record<string, string>, shards: [string, WriteEntry][][]) => void = () => {}): void {
  const shards: [string, WriteEntry][][] = [[], [], []];
  names.forEach((name, i) => {
    const { dtype, shape, bytes } = tensors.get(name)!;
    shards[i % 3]!.push([name, { dtype, shape, data: bytes }]);
  });
  const map = Object.fromEntries(names.map((name, i) => [name, shardName(i % 3)]));
  edit(map, shards);
  shards.forEach((entries, i) => put(shardName(i), writeSafetensors(entries)));
  put(INDEX, JSON.stringify({ metadata: { total_size: 98944 }, weight_map: map }));
}
const contents = (file: SafetensorsFile): unknown =>
  new Map([...file.tensors].map(([name, { dtype, shape, bytes }]) => [name, { dtype, shape, bytes: [...bytes] }]));

describe('readModelWeights', () => {
  it('reads one file as it is', () => {
    put('model.safetensors', whole);
    expect(read()).toEqual(whole);
  });

  it('joins shards to the file that they were cut from', () => {
    putShards();
    const joined = readSafetensors(read());
    expect(contents(joined)).toEqual(contents({ ...joined, tensors }));
    const config = parseModelConfig(readFileSync(join(GOLDEN, 'config.json'), 'utf8'));
    expect(checkWeights(config, joined)).toEqual(checkWeights(config, readSafetensors(whole)));
  });

  it('takes the one file where both are there, as Hugging Face does', () => {
    putShards();
    put('model.safetensors', whole);
    expect(read()).toEqual(whole);
  });

  it('joins shards of odd lengths and of types that are not read', () => {
    const part = new TextEncoder().encode('{"a":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]}}');
    const odd = new Uint8Array(8 + part.length + 3);
    new DataView(odd.buffer).setUint32(0, part.length, true);
    odd.set(part, 8);
    put('model-00001-of-00002.safetensors', odd);
    put(
      'model-00002-of-00002.safetensors',
      writeSafetensors([['b', { dtype: 'F32', shape: [2], data: Float32Array.of(1, -2) }]]),
    );
    put(
      INDEX,
      JSON.stringify({ weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' } }),
    );
    const joined = readSafetensors(read());
    expect(joined.foreign.get('a')).toMatchObject({ dtype: 'F8_E4M3', shape: [3] });
    expect([...new Float32Array(joined.tensors.get('b')!.bytes.slice().buffer)]).toEqual([1, -2]);
  });

  it.each<[string, () => void, string]>([
    [
      'a missing shard',
      () => {
        putShards();
        rmSync(join(folder, shardName(1)));
      },
      `--model: ${INDEX} names ${shardName(1)}, but '`,
    ],
    [
      'all shards missing',
      () => {
        putShards();
        for (const i of [0, 1, 2]) rmSync(join(folder, shardName(i)));
      },
      'has only 0 of 3 shards; download all of them',
    ],
    [
      'shards without their index',
      () => {
        putShards();
        rmSync(join(folder, INDEX));
      },
      `the shards (${shardName(0)}, ...) need their ${INDEX} beside them`,
    ],
    [
      'a weight that is in no shard',
      () =>
        putShards((map) => {
          map['model.layers.9.extra'] = shardName(0);
        }),
      `${INDEX}: expected the weight "model.layers.9.extra" in ${shardName(0)}, but no shard has it`,
    ],
    [
      'a weight in another shard',
      () =>
        putShards((map) => {
          map[names[0]!] = shardName(2);
        }),
      `in ${shardName(2)}, but it is in ${shardName(0)}`,
    ],
    [
      'a weight in two shards',
      () =>
        putShards((_, shards) => {
          shards[2]!.push(shards[0]![0]!);
        }),
      `stands in ${shardName(0)} and in ${shardName(2)}`,
    ],
    [
      'a shard cut off',
      () => {
        putShards();
        truncateSync(join(folder, shardName(1)), 3000);
      },
      `safetensors: ${shardName(1)}: tensor "`,
    ],
    [
      'a shard without a byte',
      () => {
        putShards();
        truncateSync(join(folder, shardName(1)), 0);
      },
      `${shardName(1)}: expected at least 8 bytes, got 0`,
    ],
    [
      'a shard that is a pointer',
      () => {
        putShards();
        put(shardName(1), 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n');
      },
      `${shardName(1)}: the header claims`,
    ],
    [
      'an index that leads out of the folder',
      () =>
        putShards((map) => {
          map[names[0]!] = '../../secret.safetensors';
        }),
      'expected the name of a .safetensors file in the same folder',
    ],
    ['an index that is no JSON', () => put(INDEX, '{'), `${INDEX}: JSON at character 1`],
    [
      'an index with a weight twice',
      () => put(INDEX, `{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}`),
      'the key "a" stands twice',
    ],
    ['an index without a map', () => put(INDEX, '{"metadata":{}}'), `${INDEX}: expected an object with weight_map`],
    [
      'pickled weights',
      () => put('pytorch_model.bin', ''),
      'its pytorch_model.bin is pickled; convert it with transformers',
    ],
    [
      'pickled shards',
      () => {
        put('pytorch_model-00001-of-00002.bin', '');
        put('pytorch_model.bin.index.json', '{}');
      },
      'pytorch_model-00001-of-00002.bin is pickled',
    ],
    ['a GGUF', () => put('model.Q4_K_M.gguf', ''), 'its model.Q4_K_M.gguf is quantized for inference'],
    [
      'weights under another name',
      () => put('weights.safetensors', whole),
      'has no model.safetensors; if weights.safetensors holds the weights, call it so',
    ],
    ['nothing', () => {}, 'has no model.safetensors; download it too'],
  ])('%s', (_, make, message) => {
    make();
    expect(read).toThrow(message);
  });

  it('a pointer of Git LFS in place of the file is named when it is read', () => {
    put('model.safetensors', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n');
    expect(() => readSafetensors(read(), { label: 'model.safetensors' })).toThrow(
      'model.safetensors: the header claims',
    );
    expect(() => readSafetensors(read())).toThrow(
      'it is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`',
    );
  });
});
