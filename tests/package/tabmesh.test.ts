// The package as its users get it: packed from a clean copy, installed by npm in an empty project with production
// dependencies only, and used there.

import { execFile, execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copyOfRepository, npm, pack, readJson, ROOT, temporaryFolder } from '../support/packed.ts';
import type { Packed } from '../support/packed.ts';

const COMMANDS = readdirSync(join(ROOT, 'src/cli/commands')).map((file) => file.replace('.ts', ''));
const MAX_TARBALL_BYTES = 15e6;

let copy: string;
let project: string;
let packed: Packed;
let before: string;

beforeAll(() => {
  copy = copyOfRepository();
  project = temporaryFolder('installed');
  packed = pack(copy, project);
  const collectives = pack(join(copy, 'packages', 'collectives'), project);
  // A copy of the one dependency that this test needs: then the registry is not asked.
  const playwright = pack(join(ROOT, 'node_modules', 'playwright-core'), project);
  const dependencies = {
    tabmesh: `file:${packed.tarball}`,
    '@tabmesh/collectives': `file:${collectives.tarball}`,
    'playwright-core': `file:${playwright.tarball}`,
  };
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ name: 'fresh', version: '1.0.0', type: 'module', dependencies }),
  );
  npm(['install', '--omit=dev', '--omit=optional', '--offline'], project);
  before = listing();
}, 600_000);
afterAll(() => {
  for (const folder of [copy, project]) if (folder) rmSync(folder, { recursive: true, force: true });
});

/** Names, sizes and times of everything that is installed. */
function listing(): string {
  const root = join(project, 'node_modules');
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => {
      const { size, mtimeMs } = statSync(join(root, name));
      return `${name} ${size} ${mtimeMs}`;
    })
    .join('\n');
}

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function node(args: readonly string[], cwd = project): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      args,
      { cwd, encoding: 'utf8', env: { ...process.env, NODE_ENV: undefined, VITEST: undefined } },
      (error, out, err) => {
        resolve({ code: error === null ? 0 : Number(error.code), out, err });
      },
    );
  });
}

/** One that nobody has at this moment. */
async function freePort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((listening) => {
    server.listen(0, 'localhost', listening);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => {
    server.close(closed);
  });
  return String(port);
}

const tabmesh = (...args: string[]): Promise<Ended> => node([join('node_modules', '.bin', 'tabmesh'), ...args]);
const inCopy = (...args: string[]): Promise<Ended> => node([join(copy, 'bin', 'tabmesh.mjs'), ...args]);

it('holds what is built, the licence and the notices, no sources, and is small', () => {
  const outside = packed.files.filter((file) => !/^(build|docs|examples)\//.test(file)).sort();
  expect(outside).toEqual([
    'CHANGELOG.md',
    'LICENSE',
    'NOTICE',
    'README.md',
    'bin/link.mjs',
    'bin/tabmesh.mjs',
    'package.json',
  ]);
  for (const file of [
    'cli/main.js',
    'cli/THIRD-PARTY.md',
    'pages/index.html',
    'pages/THIRD-PARTY.md',
    'collectives/index.d.ts',
  ])
    expect(packed.files).toContain(`build/${file}`);
  expect(packed.files.filter((file) => /\.(ts|wgsl|map)$|(^|\/)\./.test(file) && !file.endsWith('.d.ts'))).toEqual([]);
  expect(packed.bytes).toBeLessThan(MAX_TARBALL_BYTES);
  const notices = ['cli', 'pages'].map((part) =>
    readFileSync(join(project, 'node_modules/tabmesh/build', part, 'THIRD-PARTY.md'), 'utf8'),
  );
  for (const [library, text] of [
    ['aedes', notices[0]!],
    ['ws', notices[0]!],
    ['lit', notices[1]!],
    ['uplot', notices[1]!],
  ] as const)
    expect(text).toMatch(new RegExp(`^## ${library} - .*MIT|^## ${library} - .*BSD`, 'm'));
});

it('asks for nothing that is not installed but what builds the pages of a checkout', () => {
  const folder = join(project, 'node_modules/tabmesh/build/cli');
  const asked = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.js'))
    .flatMap((name) => {
      const text = readFileSync(join(folder, name), 'utf8');
      return [...text.matchAll(/(?:^import (?:[^;]*? from )?|\bimport\()["']([^."'][^"']*)["'](?:;|\))/gm)]
        .map(([, from]) => from!)
        .filter((from) => !from.startsWith('node:') && !isBuiltin(from));
    });
  expect(asked.toSorted()).toEqual(expect.arrayContaining(['playwright-core', 'vite', 'webgpu']));
  expect(asked.filter((from) => !['playwright-core', 'webgpu'].includes(from))).toEqual(['assemblyscript/asc', 'vite']);
});

it('depends on the browser driver and, if it can be had, on WebGPU for Node', () => {
  const { dependencies, optionalDependencies, license } = readJson<Record<string, Record<string, string>>>(
    join(project, 'node_modules/tabmesh/package.json'),
  );
  expect([Object.keys(dependencies!), Object.keys(optionalDependencies!), license]).toEqual([
    ['playwright-core'],
    ['webgpu'],
    'Apache-2.0',
  ]);
  expect(
    readdirSync(join(project, 'node_modules'))
      .filter((name) => !name.startsWith('.'))
      .sort(),
  ).toEqual(['@tabmesh', 'playwright-core', 'tabmesh']);
});

it('says what its commands do', async () => {
  const { code, out } = await tabmesh('--help');
  expect([code, COMMANDS.filter((name) => !out.includes(`\n  ${name}`))]).toEqual([0, []]);
  for (const name of COMMANDS)
    expect(await tabmesh(name, '--help')).toMatchObject({
      code: 0,
      err: '',
      out: expect.stringMatching(new RegExp(`^tabmesh ${name}: `)) as string,
    });
});

it('simulates, trains on the text that it brings along, and saves', async () => {
  expect(await tabmesh('simulate', '--schedule', '1f1b', '--stages', '4', '--microbatches', '8')).toMatchObject({
    code: 0,
    out: expect.stringContaining('37.5 %') as string,
  });
  const saved = join(project, 'weights.safetensors');
  const trained = await tabmesh(
    'train',
    '--backend',
    'cpu',
    '--model',
    'gpt2-nano',
    '--context',
    '8',
    '--batch',
    '2',
    '--steps',
    '2',
    '--save',
    saved,
  );
  expect(trained, trained.err).toMatchObject({ code: 0, out: expect.stringContaining('trained 2 steps') as string });
  expect(statSync(saved).size).toBeGreaterThan(100_000);
  const { code, out, err } = await tabmesh(
    'verify',
    join(ROOT, 'tests/golden/models/gpt2-tiny'),
    '--backend',
    'cpu',
    '--layout',
    'dp=1',
  );
  expect([code, out.trim().split('\n').at(-1)], err).toEqual([0, expect.stringMatching(/^\d+ passed, 0 failed/)]);
});

it('says in one sentence what to install for kernels in Node', async () => {
  const { code, out, err } = await tabmesh('train', '--backend', 'node', '--data', 'copy', '--steps', '1');
  expect([code, out]).toEqual([1, '']);
  expect(err.trim().split('\n').at(-1)).toBe(
    'tabmesh train: device: the npm package "webgpu" is not installed; install it beside tabmesh (npm install webgpu), or use --backend chromium or --backend cpu',
  );
});

it('serves built pages', async () => {
  const server = spawn(
    process.execPath,
    [join('node_modules', '.bin', 'tabmesh'), 'serve', '--port', await freePort()],
    { cwd: project, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const ended = new Promise((resolve) => {
    server.once('exit', resolve);
  });
  try {
    const url = await new Promise<string>((resolve, reject) => {
      let said = '';
      const hear = (text: string): void => {
        const found = /http:\/\/localhost:\d+\//.exec((said += text));
        if (found) resolve(found[0]);
      };
      for (const stream of [server.stdout, server.stderr]) stream.setEncoding('utf8').on('data', hear);
      void ended.then((code) => reject(new Error(`serve ended with ${String(code)}: ${said}`)));
    });
    for (const page of ['', 'bench.html', 'collectives.html', 'driven.html']) {
      const html = await (await fetch(url + page)).text();
      const script = /<script type="module"[^>]* src="\.\/([^"]+)"/.exec(html)?.[1];
      expect(script, page).toMatch(/^assets\/[\w.-]+\.js$/);
      expect((await fetch(url + script!)).headers.get('content-type')).toMatch(/javascript/);
    }
    expect(await (await fetch(`${url}data/moby-dick.txt`)).text()).toContain('Call me Ishmael');
    for (const hidden of ['package.json', 'src/app/training/main.ts', 'cli/main.js', '..%2fcli%2fmain.js'])
      expect([403, 404], hidden).toContain((await fetch(url + hidden)).status);
    server.kill('SIGINT');
    expect(await ended).toBe(130);
  } finally {
    server.kill('SIGKILL');
  }
});

it('gives collectives under both names', async () => {
  for (const name of ['@tabmesh/collectives', 'tabmesh/collectives']) {
    const script = `import { allReduce, connectLoopback } from '${name}'; const all = connectLoopback(2); const xs = all.map((own) => Float32Array.of(own.rank + 1));
      await Promise.all(all.map((own, r) => allReduce(own, xs[r]))); for (const own of all) own.leave(); console.log(xs.map((x) => x[0]).join());`;
    expect(await node(['--input-type=module', '-e', script])).toEqual({ code: 0, out: '3,3\n', err: '' });
  }
});

it('writes nothing into its folder', () => {
  expect(listing()).toBe(before);
});

describe('in an odd state', () => {
  it('an installation without its parts says so', async () => {
    const folder = join(project, 'node_modules', 'tabmesh');
    const broken = join(temporaryFolder('broken'), 'tabmesh');
    try {
      cpSync(folder, broken, { recursive: true, filter: (from) => !from.endsWith('.wasm') });
      rmSync(join(broken, 'build', 'pages'), { recursive: true });
      const bin = join(broken, 'bin', 'tabmesh.mjs');
      for (const args of [
        ['serve', '--port', await freePort()],
        ['train', '--backend', 'cpu', '--steps', '1'],
      ]) {
        expect(await node([bin, ...args])).toMatchObject({
          code: 1,
          err: expect.stringMatching(/^tabmesh \w+: .*found none; install tabmesh again\n$/) as string,
        });
      }
      rmSync(join(broken, 'build', 'cli', 'chunks'), { recursive: true });
      expect(await node([bin, '--help'])).toMatchObject({
        code: 1,
        out: '',
        err: expect.stringMatching(
          /^tabmesh: the installation is not whole \(.*\); install tabmesh again\n$/,
        ) as string,
      });
      rmSync(join(broken, 'build'), { recursive: true });
      expect(await node([bin, '--help'])).toMatchObject({
        code: 1,
        out: '',
        err: expect.stringMatching(
          /^tabmesh: expected the command line in .*, found none; install tabmesh again.*\n$/,
        ) as string,
      });
    } finally {
      rmSync(join(broken, '..'), { recursive: true, force: true });
    }
  });

  it('a checkout without Vite uses what is built, or says what to do', async () => {
    unlinkSync(join(copy, 'node_modules'));
    expect(existsSync(join(copy, 'build', 'cli', 'main.js'))).toBe(true);
    expect(await inCopy('simulate', '--stages', '2', '--microbatches', '2')).toMatchObject({ code: 0 });
    rmSync(join(copy, 'build'), { recursive: true });
    expect(await inCopy('--help')).toEqual({
      code: 1,
      out: '',
      err: 'tabmesh: expected Vite, which runs the sources of a checkout, found none; run `npm install` in it, without --omit=dev\n',
    });
  });
});

it('has the version of the collectives, whose lists of files git knows', () => {
  expect(readJson<{ version: string }>(join(ROOT, 'packages/collectives/package.json')).version).toBe(
    readJson<{ version: string }>(join(ROOT, 'package.json')).version,
  );
  const ignored = execFileSync(
    'git',
    ['check-ignore', 'build/cli/main.js', 'build/pages/index.html', 'packages/collectives/dist/index.js'],
    { cwd: ROOT, encoding: 'utf8' },
  );
  expect(ignored.trim().split('\n')).toHaveLength(3);
});
