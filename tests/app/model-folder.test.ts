// A model folder goes in, and comes back out of a checkpoint as the same files, which load again.

import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { isModelFolder, modelFolderOf, readModelFolder } from '../../src/app/training/files/model-folder.ts';
import { modelZip } from '../../src/app/training/files/model-zip.ts';
import type { DroppedFile } from '../../src/app/training/files/model-folder.ts';
import { readSafetensors } from '../../src/base/safetensors.ts';
import { runInProcess } from '../../src/cli/in-process.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { goldenModel } from '../support/local-run.ts';

const dropped = (path: string, content: string | Uint8Array<ArrayBuffer>): DroppedFile => ({
  path,
  file: new File([content], path.split('/').at(-1)!),
});
const golden = (file: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(`${goldenModel('gpt2-tiny')}/${file}`));
const folder = (name = 'mine/'): DroppedFile[] => [
  dropped(`${name}config.json`, golden('config.json')),
  dropped(`${name}model.safetensors`, golden('model.safetensors')),
];
const TEXT = 'call me ishmael. some years ago, never mind how long. '.repeat(10);

describe('a dropped model folder', () => {
  it('is known by its config, with weights and tokenizer', async () => {
    const files = [
      ...folder(),
      dropped('mine/tokenizer.json', '{}'),
      dropped('mine/tokenizer_config.json', '{"a":1}'),
      dropped('mine/README.md', 'x'),
    ];
    expect([isModelFolder(files), isModelFolder([dropped('a.txt', 'x')])]).toEqual([true, false]);
    const { name, model, files: contents } = await readModelFolder(files);
    expect([name, model.family, contents.tokenizer, contents.tokenizerConfig]).toEqual([
      'mine',
      'gpt2',
      '{}',
      '{"a":1}',
    ]);
    expect(contents.weights).toEqual(golden('model.safetensors'));
  });
  it('may be files without a folder, and never takes the name of a preset', async () => {
    expect((await readModelFolder(folder(''))).name).toBe('model');
    expect((await readModelFolder(folder('x/gpt2-nano/'))).name).toBe('gpt2-nano (folder)');
  });
  it.each([
    [[folder()[0]!], 'model: "mine" has no model.safetensors; drop the folder with its weights'],
    [
      [folder()[0]!, dropped('mine/model.safetensors.index.json', '{}')],
      'weights in several files are read by the command line alone',
    ],
    [
      [...folder('a/'), ...folder('b/')],
      '2 folders with a config.json ("a/config.json", "b/config.json"); drop one of them',
    ],
    [[dropped('m/config.json', '{"model_type":"bert"}'), folder('m/')[1]!], 'model_type'],
  ])('case %#: %s is refused', async (files, reason) => {
    await expect(readModelFolder(files as DroppedFile[])).rejects.toThrow(reason);
  });
});

it('comes back from a checkpoint without the optimizer, and trains on', async () => {
  const train = async (files: Parameters<typeof runInProcess>[0]['files']): Promise<Uint8Array<ArrayBuffer>> => {
    let checkpoint: Uint8Array<ArrayBuffer> | undefined;
    const model = parseRunConfig([
      ['model', 'mine'],
      ['data', 'a.txt'],
      ['tokenizer', 'chars'],
      ['context', 8],
      ['batch', 2],
      ['steps', 1],
      ['evalEvery', 0],
      ['sampleEvery', 0],
      ['checkpointEvery', 1],
    ]);
    await runInProcess({
      backend: 'cpu',
      config: model,
      files,
      onEvent: (_, event) => {
        if (event.kind === 'checkpoint') checkpoint = event.bytes;
      },
    });
    return checkpoint!;
  };
  const { files } = await readModelFolder(folder());
  const checkpoint = await train({ ...files, text: TEXT });
  const back = modelFolderOf(checkpoint);
  expect([...back.keys()]).toEqual(['config.json', 'model.safetensors', 'tokenizer.tabmesh.json']);
  const names = (bytes: Uint8Array<ArrayBuffer>): string[] => [...readSafetensors(bytes).tensors.keys()].sort();
  expect(names(back.get('model.safetensors')!)).toEqual(names(golden('model.safetensors')));
  const again = await readModelFolder([...back].map(([name, bytes]) => dropped(`again/${name}`, bytes)));
  expect(await train({ ...again.files, text: TEXT })).toBeInstanceOf(Uint8Array);

  // One file holds the folder.
  const unpacked = unzip(new Uint8Array(await (await modelZip(checkpoint, 'tabmesh-step-1')).arrayBuffer()));
  expect(unpacked).toEqual(new Map([...back].map(([name, bytes]) => [`tabmesh-step-1/${name}`, bytes])));
});

/** The files of a zip that compresses nothing, by its central directory; CRC and sizes are checked. */
function unzip(bytes: Uint8Array<ArrayBuffer>): Map<string, Uint8Array<ArrayBuffer>> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.byteLength - 22;
  expect(view.getUint32(end, true), 'end of the central directory').toBe(0x06054b50);
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (let at = view.getUint32(end + 16, true), left = view.getUint16(end + 10, true); left > 0; left--) {
    expect(view.getUint32(at, true), 'entry').toBe(0x02014b50);
    const [method, crc, size] = [
      view.getUint16(at + 10, true),
      view.getUint32(at + 16, true),
      view.getUint32(at + 24, true),
    ];
    const [name, extra, comment] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [
      number,
      number,
      number,
    ];
    const local = view.getUint32(at + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const content = bytes.slice(start, start + size);
    expect([method, crc]).toEqual([0, crc32(content)]);
    files.set(new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + name)), content);
    at += 46 + name + extra + comment;
  }
  return files;
}
