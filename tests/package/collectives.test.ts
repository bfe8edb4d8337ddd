// @tabmesh/collectives as its users get it: packed, unpacked in a project of its own, run as plain JavaScript,
// minified, and compiled against by old and new TypeScript.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copyOfRepository, pack, readJson, ROOT, temporaryFolder, unpack } from '../support/packed.ts';
import type { Packed } from '../support/packed.ts';

let copy: string;
let project: string;
let folder: string;
let packed: Packed;

beforeAll(() => {
  copy = copyOfRepository();
  project = temporaryFolder('collectives');
  packed = pack(join(copy, 'packages', 'collectives'), project);
  folder = unpack(packed, project, '@tabmesh/collectives');
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
}, 180_000);
afterAll(() => {
  for (const each of [copy, project]) if (each) rmSync(each, { recursive: true, force: true });
});

const run = (script: string): string => {
  writeFileSync(join(project, 'run.mjs'), script);
  return execFileSync(process.execPath, ['run.mjs'], { cwd: project, encoding: 'utf8' }).trim();
};

const SUM = `import { allReduce, connectLoopback, PeerError } from '@tabmesh/collectives';
const all = connectLoopback(3);
const xs = all.map((own) => Float32Array.of(own.rank));
await Promise.all(all.map((own, r) => allReduce(own, xs[r])));
const late = allReduce(all[0], xs[0]).catch((error) => error);
all[2].leave();
const error = await late;
for (const own of all) own.leave();
console.log(xs.map((x) => x[0]).join(), error.name, error instanceof PeerError, error.culprit);`;

it('holds the module, its declarations and the licence, and depends on nothing', () => {
  expect([...packed.files].sort()).toEqual([
    'LICENSE',
    'README.md',
    'dist/index.d.ts',
    'dist/index.js',
    'dist/ts5.5/index.d.ts',
    'package.json',
  ]);
  const { license, version, ...manifest } = readJson<Record<string, unknown>>(join(folder, 'package.json'));
  expect(manifest).not.toHaveProperty('dependencies');
  expect({ license, version }).toEqual({
    license: 'Apache-2.0',
    version: readJson<{ version: string }>(join(ROOT, 'package.json')).version,
  });
  expect(readFileSync(join(folder, 'LICENSE'), 'utf8')).toBe(readFileSync(join(ROOT, 'LICENSE'), 'utf8'));
  expect(packed.unpackedBytes).toBeLessThan(300_000);
  expect(readFileSync(join(folder, 'dist', 'index.js'), 'utf8')).not.toMatch(/^import |import\(/m);
});

it('runs as plain JavaScript', () => {
  expect(run(SUM)).toBe('3,3,3 PeerError true 2');
});

it('keeps the names of its errors in a minified bundle', async () => {
  writeFileSync(join(project, 'sum.js'), SUM);
  const outDir = join(project, 'bundle');
  await build({
    root: project,
    configFile: false,
    logLevel: 'error',
    publicDir: false,
    build: {
      outDir,
      minify: true,
      target: 'es2022',
      rolldownOptions: { input: join(project, 'sum.js'), output: { entryFileNames: 'sum.js', format: 'es' } },
    },
  });
  expect(readFileSync(join(outDir, 'sum.js'), 'utf8')).not.toContain('class PeerError');
  expect(execFileSync(process.execPath, [join(outDir, 'sum.js')], { encoding: 'utf8' }).trim()).toBe(
    '3,3,3 PeerError true 2',
  );
});

const ANYWHERE = `
import { allGatherBytes, allReduce, connectLoopback, connectTabs, encode, issue, PeerError, VirtualWorld } from '@tabmesh/collectives';
import type { Communicator, Wire, World } from '@tabmesh/collectives';
export async function work(gradient: Float32Array<BUFFER>): Promise<number> {
  const world: Communicator = await connectTabs('x', 2, { timeoutMs: 1000, world: new VirtualWorld(1) });
  const done: Promise<void> = allReduce(world, gradient, { wire: 'f16' });
  await issue(done).wait();
  // @ts-expect-error there is no such format
  void allReduce(world, new Float32Array(4), { wire: 'f8' });
  const words: Uint32Array = encode('f16', gradient);
  const culprit: number = (await world.failed).culprit;
  const error: Error = new PeerError(0, 'left', 'it left', { cause: 1 });
  return words.length + culprit + error.message.length + allGatherBytes(0, [0, 1]) + connectLoopback(2)[0]!.rank;
}
export const wire = (own: World): Wire => ({
  bufferedAmount: own.now(), kind: 'mine', onDrain: undefined, onMessage: undefined, onClose: undefined, close() {}, send(message) { message.slice(); },
});
`;
const BROWSER = `
import { connectChannels, connectPorts, openLanes } from '@tabmesh/collectives';
export function join(pc: RTCPeerConnection, port: MessagePort, single: RTCDataChannel): number {
  const lanes = openLanes(pc);
  const label: string = lanes.control.label;
  const world = connectChannels(0, new Map([[1, lanes]]));
  connectChannels(0, new Map([[1, single]]), { paths: { 1: 'host' } });
  connectChannels(0, new Map([[1, { control: single, bulk: single, connection: pc }]]));
  connectPorts(0, new Map([[1, port]])).leave();
  return label.length + world.size;
}
`;
const NODE = `
import { MessageChannel } from 'node:worker_threads';
import { connectPorts } from '@tabmesh/collectives';
export const world = connectPorts(0, new Map([[1, new MessageChannel().port1]]));
`;

type TypeScript = typeof import('typescript');
const compiler = (from: string): TypeScript => createRequire(join(from, 'package.json'))('typescript') as TypeScript;

describe.each([
  ['5.5', 'tests/package/ts5.5'],
  ['5.7', 'tests/package/ts5.7'],
  ['5.9', '.'],
])('TypeScript %s', (version, from) => {
  const ts = compiler(join(ROOT, from));
  const libraries = new Map<string, import('typescript').SourceFile>();

  const problems = (name: string, text: string, options: Record<string, unknown>): string[] => {
    writeFileSync(join(project, name), text);
    const { options: parsed, errors } = ts.convertCompilerOptionsFromJson(
      {
        strict: true,
        noEmit: true,
        skipLibCheck: false,
        skipDefaultLibCheck: true,
        exactOptionalPropertyTypes: true,
        target: 'es2022',
        types: [],
        ...options,
      },
      project,
    );
    const host = ts.createCompilerHost(parsed);
    const { getSourceFile } = host;
    // The libraries are the same in all programs of a version; the rest is not.
    host.getSourceFile = (file, ...how) => {
      if (!/[\\/](typescript[\\/]lib|@types|undici-types)[\\/]/.test(file)) return getSourceFile(file, ...how);
      const key = `${file} ${JSON.stringify(how[0])}`;
      const known = libraries.get(key) ?? getSourceFile(file, ...how);
      if (known) libraries.set(key, known);
      return known;
    };
    const program = ts.createProgram([join(project, name)], parsed, host);
    return [...errors, ...ts.getPreEmitDiagnostics(program)].map(
      ({ messageText, file }) => `${file?.fileName ?? ''}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`,
    );
  };
  const anywhere = ANYWHERE.replace('<BUFFER>', version === '5.5' ? '' : '<ArrayBuffer>');

  it('is the version that it says', () => {
    expect(ts.version.startsWith(`${version}.`)).toBe(true);
  });

  it.each([
    ['bundler', { module: 'esnext', moduleResolution: 'bundler' }],
    ['node16', { module: 'node16', moduleResolution: 'node16' }],
    ['nodenext', { module: 'nodenext', moduleResolution: 'nodenext' }],
    ['node10', { module: 'esnext', moduleResolution: 'node10' }],
  ])('compiles with %s and without dom', (_, options) => {
    expect(problems('anywhere.ts', anywhere, { ...options, lib: ['es2022'] })).toEqual([]);
  });

  it('compiles in pages and workers', () => {
    for (const lib of [
      ['es2022', 'dom'],
      ['esnext', 'webworker'],
    ]) {
      const text = lib.includes('dom') ? anywhere + BROWSER : anywhere;
      expect(problems('page.ts', text, { module: 'esnext', moduleResolution: 'bundler', lib })).toEqual([]);
    }
  });

  // Without checking Node's own types, which takes seconds.
  it('compiles in Node, whose ports fit', () => {
    const types = join(project, 'node_modules', '@types');
    if (!existsSync(types)) symlinkSync(join(ROOT, 'node_modules', '@types'), types);
    expect(
      problems('node.ts', anywhere + NODE, {
        module: 'nodenext',
        moduleResolution: 'nodenext',
        lib: ['es2023'],
        types: ['node'],
        skipLibCheck: true,
      }),
    ).toEqual([]);
  });
});

it('is documented by an example that is there, word for word', () => {
  const read = (name: string): string => readFileSync(join(ROOT, name), 'utf8');
  const docs = read('docs/collectives.md');
  const page = /<script type="module">\n([^]*?)<\/script>/.exec(read('examples/collectives/webrtc.html'))![1]!;
  expect(docs).toContain(`\`\`\`js\n${page.trimEnd()}\n\`\`\``);
  expect(docs).toContain(`\`\`\`js\n${read('examples/collectives/server.mjs').trimEnd()}\n\`\`\``);
  expect(readdirSync(join(ROOT, 'examples/collectives')).sort()).toEqual([
    'index.html',
    'package.json',
    'server.mjs',
    'webrtc.html',
  ]);
});
