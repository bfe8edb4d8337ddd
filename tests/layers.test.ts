// The layer rule of the design on the real tree, and proof that each rule catches what it is for.

import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  MAX_FILES,
  MAX_FUNCTION_LINES,
  MAX_LINES,
  MAX_WIDTH,
  offencesIn,
  widthOffences,
} from './support/source-rules.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

function sources(): Map<string, string> {
  const files = new Map<string, string>();
  for (const folder of ['src', 'shaders', 'workers']) {
    for (const path of readdirSync(`${root}/${folder}`, { recursive: true, encoding: 'utf8' })) {
      if (/\.(ts|mjs|wgsl|css|html)$/.test(path))
        files.set(`${folder}/${path.replaceAll('\\', '/')}`, readFileSync(`${root}/${folder}/${path}`, 'utf8'));
    }
  }
  return files;
}

it('the tree keeps its layers, globals and sizes', () => {
  const files = sources();
  expect(files.size).toBeGreaterThan(50);
  expect(offencesIn(files)).toEqual([]);
});

it('comments of the tests are no wider either', () => {
  const wide = readdirSync(`${root}/tests`, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.includes('node_modules'))
    .flatMap((path) => widthOffences(`tests/${path}`, readFileSync(`${root}/tests/${path}`, 'utf8')));
  expect(wide).toEqual([]);
});

describe('a seeded offence is printed', () => {
  const base = {
    'src/base/shape.ts': 'export const x = 1;',
    'src/model/config.ts': 'export interface C { a: number }',
    'src/device/device.ts': '',
    'src/ops/x.ts': '',
  };
  const check = (files: Record<string, string>) => offencesIn(new Map(Object.entries({ ...base, ...files })));

  it.each([
    [
      'upwards',
      { 'src/ops/rms-norm.ts': "import { a } from '../model/config.ts';" },
      'ops/rms-norm.ts:1 imports model/config.ts: level 3 may import levels 0-2',
    ],
    [
      'upwards by type',
      { 'src/ops/y.ts': "import type { C } from '../model/config.ts';" },
      'ops/y.ts:1 imports model/config.ts: level 3 may import levels 0-2',
    ],
    [
      'upwards by import()',
      { 'src/ops/y.ts': "\nconst a = await import('../model/config.ts');" },
      'ops/y.ts:2 imports model/config.ts: level 3 may import levels 0-2',
    ],
    [
      'upwards by a type in place',
      { 'src/ops/y.ts': "let a: import('../model/config.ts').C;" },
      'ops/y.ts:1 imports model/config.ts: level 3 may import levels 0-2',
    ],
    [
      'upwards by export from',
      { 'src/base/y.ts': "export * from '../ops/x.ts';" },
      'base/y.ts:1 imports ops/x.ts: level 0 may import nothing',
    ],
    [
      'upwards by a worker',
      { 'src/ops/y.ts': "new Worker(new URL('../../workers/rank.ts', import.meta.url));", 'workers/rank.ts': '' },
      'ops/y.ts:1 imports workers/rank.ts: level 3 may import levels 0-2',
    ],
    [
      'upwards by glob',
      { 'src/device/y.ts': "import.meta.glob('../ops/*.ts');" },
      'device/y.ts:1 imports ops/*.ts: level 1 may import level 0',
    ],
    [
      'sideways',
      { 'src/transport/y.ts': "import { d } from '../device/device.ts';" },
      'transport/y.ts:1 imports device/device.ts: level 1 may import level 0',
    ],
    [
      'from another page',
      { 'src/app/bench/y.ts': "import '../training/z.ts';", 'src/app/training/z.ts': '' },
      'app/bench/y.ts:1 imports app/training/z.ts: level 9 may import levels 0-8',
    ],
    [
      'from a page by what all pages share',
      { 'src/app/shared/y.ts': "import '../bench/z.ts';", 'src/app/bench/z.ts': '' },
      'app/shared/y.ts:1 imports app/bench/z.ts: level 8 may import levels 0-7',
    ],
    [
      'from nowhere',
      { 'src/ops/y.ts': "import '../base/gone.ts';" },
      'ops/y.ts:1 imports base/gone.ts: there is no such file',
    ],
    [
      'from a package',
      { 'src/ops/y.ts': "import { z } from 'mqtt';" },
      'ops/y.ts:1 imports mqtt: packages are for level 6 and up',
    ],
    [
      'from Node',
      { 'src/train/y.ts': "import { z } from 'node:fs';" },
      'train/y.ts:1 imports node:fs: only cli and server may use Node',
    ],
  ])('import %s', (_, files, offence) => {
    expect(check(files)).toEqual([offence]);
  });

  it.each([
    ['src/train/y.ts', 'document.title = "x";', 'train/y.ts:1 uses document: the page belongs to src/app'],
    ['src/train/y.ts', 'let e: HTMLElement;', 'train/y.ts:1 uses HTMLElement: the page belongs to src/app'],
    [
      'src/cluster/y.ts',
      'new RTCPeerConnection();',
      'cluster/y.ts:1 uses RTCPeerConnection: a peer connection belongs to src/transport/webrtc.ts',
    ],
    [
      'src/ops/y.ts',
      'const u = GPUBufferUsage.STORAGE;',
      'ops/y.ts:1 uses GPUBufferUsage: WebGPU belongs to src/device/webgpu.ts and node-gpu.ts',
    ],
    [
      'src/cluster/y.ts',
      'const t = performance.now();',
      'cluster/y.ts:1 uses performance: a clock or timer belongs to src/base/world.ts (take a World)',
    ],
    [
      'src/base/y.ts',
      'globalThis.setTimeout(() => {}, 1);',
      'base/y.ts:1 uses setTimeout: a clock or timer belongs to src/base/world.ts (take a World)',
    ],
    [
      'src/train/y.ts',
      'const r = Math.random();',
      'train/y.ts:1 uses Math.random: randomness belongs to src/base/world.ts (take a World)',
    ],
  ])('global in %s: %s', (path, text, offence) => {
    expect(check({ [path]: text })).toEqual([offence]);
  });

  it('a circle of imports, named along the way', () => {
    expect(
      check({
        'src/base/a.ts': "import './b.ts';",
        'src/base/b.ts': "import './c.ts';",
        'src/base/c.ts': "import './a.ts';",
      }),
    ).toEqual(['circle of imports: base/a.ts -> base/b.ts -> base/c.ts -> base/a.ts']);
  });
  it('files, functions and folders that are too large, and files in no layer', () => {
    expect(check({ 'src/base/long.ts': '//\n'.repeat(MAX_LINES + 1) })).toEqual([
      `base/long.ts has ${MAX_LINES + 1} lines: at most ${MAX_LINES}`,
    ]);
    expect(check({ 'src/base/f.ts': `function f() {\n${'//\n'.repeat(MAX_FUNCTION_LINES)}}` })).toEqual([
      `base/f.ts:1 has a function of ${MAX_FUNCTION_LINES + 2} lines: at most ${MAX_FUNCTION_LINES}`,
    ]);
    expect(
      check(Object.fromEntries(Array.from({ length: MAX_FILES + 1 }, (_, i) => [`src/train/f${i}.ts`, '']))),
    ).toEqual(['train holds 16 files: at most 15']);
    expect(check({ 'src/helpers.ts': '' })).toEqual(['src/helpers.ts lies in no layer']);
  });
  it('WGSL and comments that are too wide', () => {
    const wide = 'x '.repeat(MAX_WIDTH / 2);
    expect(check({ 'shaders/norm/x.wgsl': `// short\nlet ${wide}` })).toEqual([
      `shaders/norm/x.wgsl:2 is ${MAX_WIDTH + 4} columns wide: at most ${MAX_WIDTH}`,
    ]);
    expect(check({ 'src/base/x.ts': `// ${wide}` })).toEqual([
      `base/x.ts:1 is ${MAX_WIDTH + 3} columns wide: at most ${MAX_WIDTH}`,
    ]);
    expect(check({ 'src/base/x.ts': `/**\n * ${wide}\n */` })).toEqual([
      `base/x.ts:2 is ${MAX_WIDTH + 3} columns wide: at most ${MAX_WIDTH}`,
    ]);
    const word = 'x'.repeat(MAX_WIDTH);
    expect(check({ 'src/base/x.ts': `// ${word}\nexport const x = '${wide}';`, 'shaders/norm/x.wgsl': '' })).toEqual(
      [],
    );
  });
  it('but not what only looks like one', () => {
    expect(
      check({
        'src/base/y.ts':
          "// document, Date\nconst window = 3; export const a = { performance: window, document: 'Date' };\nexport interface D { setTimeout(): void }\nexport const f = (d: D, crypto: string) => { d.setTimeout(); return crypto; };",
        'src/base/z.ts': "import type { D } from './w.ts'; export const q = 1;",
        'src/base/w.ts': "import { q } from './z.ts'; export interface D { a: typeof q }",
        'src/cluster/y.ts':
          "import type { C } from '../model/config.ts'; let c: RTCPeerConnection | Date; let g: GPUDevice;",
        'src/cli/y.ts': "import { x } from 'node:fs'; setTimeout(x, 1);",
      }),
    ).toEqual([]);
  });
});
