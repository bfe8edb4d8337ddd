// Where the built pages come from: shipped with a package, built in a checkout when missing or older than the sources,
// in whatever folder it lies, also two at once.

import { execFile, execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ensurePages } from '../../src/server/pages/ensure.ts';
import { packageRoot } from '../../src/server/root.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tabmesh-ensure-'));
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  execFileSync('chmod', ['-R', 'u+w', folder]);
  rmSync(folder, { recursive: true, force: true });
});

/** A checkout of one small page. */
function checkout(name = 'checkout'): string {
  const root = join(folder, name);
  mkdirSync(join(root, 'src', 'app'), { recursive: true });
  for (const file of ['package.json', 'package-lock.json', 'tsconfig.json']) cpSync(join(ROOT, file), join(root, file));
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  writeFileSync(
    join(root, 'index.html'),
    '<!doctype html><title>small</title><script type="module" src="/src/app/main.ts"></script>',
  );
  writeFileSync(
    join(root, 'src', 'app', 'main.ts'),
    "import { more } from './more.ts';\nconst name: string = 'first';\ndocument.title = name + more;\nvoid import('./late.ts');\n",
  );
  writeFileSync(join(root, 'src', 'app', 'more.ts'), 'export const more = 1;\n');
  writeFileSync(join(root, 'src', 'app', 'late.ts'), 'document.title += "late";\n');
  return root;
}
const scriptsOf = (pages: string): string =>
  readdirSync(join(pages, 'assets'))
    .filter((name) => name.endsWith('.js'))
    .map((name) => readFileSync(join(pages, 'assets', name), 'utf8'))
    .join('\n');
const ensure = async (root: string): Promise<{ pages: string; said: string[] }> => {
  const said: string[] = [];
  return { pages: await ensurePages((line) => said.push(line), root), said };
};

describe('a checkout', () => {
  it('is built once, and again when a source changes', async () => {
    const root = checkout();
    const first = await ensure(root);
    expect(first).toEqual({
      pages: join(root, 'build', 'pages'),
      said: [expect.stringMatching(/^building the pages/)],
    });
    expect(scriptsOf(first.pages)).toMatch(/first/);
    expect(existsSync(join(first.pages, 'data', 'moby-dick.txt'))).toBe(true);
    expect(await ensure(root)).toEqual({ pages: first.pages, said: [] });
    const source = join(root, 'src', 'app', 'main.ts');
    writeFileSync(source, readFileSync(source, 'utf8').replace('first', 'other'));
    expect((await ensure(root)).said).toHaveLength(1);
    expect(scriptsOf(first.pages)).toMatch(/other/);
    expect(scriptsOf(first.pages)).not.toMatch(/first/);
    // Of builds that were under way nothing stays.
    expect(readdirSync(join(root, 'build'))).toEqual(['pages']);
  });

  it.each(['a#b', 'c?d', 'e%20f', 'g h', 'ünï', "q'uote", 'p(a)r{e}n[s]'])('in a folder %s', async (name) => {
    const { pages } = await ensure(checkout(name));
    expect(pages).toBe(join(folder, name, 'build', 'pages'));
    expect(scriptsOf(pages)).toMatch(/first/);
    expect(readFileSync(join(pages, 'index.html'), 'utf8')).toMatch(/src="\.\/assets\/index-[\w-]{8}\.js"/);
  });

  it('is built by two commands at once without harm', async () => {
    const root = checkout();
    const both = await Promise.all([ensure(root), ensure(root), ensure(root)]);
    for (const { pages } of both) expect(pages).toBe(join(root, 'build', 'pages'));
    expect(scriptsOf(both[0].pages)).toMatch(/first/);
    expect(await ensure(root)).toMatchObject({ said: [] });
    expect(readdirSync(join(root, 'build'))).toEqual(['pages']);
  });

  it('that does not build says so in one sentence, and keeps what there was', async () => {
    const root = checkout();
    const { pages } = await ensure(root);
    writeFileSync(join(root, 'src', 'app', 'more.ts'), 'export const more = ;\n');
    await expect(ensure(root)).rejects.toMatchObject({
      name: 'ServeError',
      message: expect.stringMatching(/^pages: the build failed \(.+\); `npm run build` in .+ shows all of it$/),
    });
    expect(scriptsOf(pages)).toMatch(/first/);
    expect(readdirSync(join(root, 'build'))).toEqual(['pages']);
  });
});

describe('a package', () => {
  it('has its pages with it, and needs nothing else', async () => {
    const root = join(folder, 'package');
    mkdirSync(join(root, 'build', 'pages'), { recursive: true });
    writeFileSync(join(root, 'package.json'), '{}');
    await expect(ensure(root)).rejects.toThrow(
      `pages: expected the built pages in ${join(root, 'build', 'pages')}, found none; install tabmesh again`,
    );
    writeFileSync(join(root, 'build', 'pages', 'index.html'), '');
    expect(await ensure(root)).toEqual({ pages: join(root, 'build', 'pages'), said: [] });
  });
  it('is found from any of its files', () => {
    expect(packageRoot()).toBe(ROOT);
    expect(packageRoot(join(ROOT, 'src', 'server', 'pages', 'x.js'))).toBe(ROOT);
  });
});

// Root may write anywhere, so it gives up that right first. Another user could not read a checkout below /root.
it('a checkout that may not be written to is built in the own cache folder', async () => {
  const root = checkout();
  chmodSync(root, 0o555);
  const script = join(folder, 'ensure.mjs');
  writeFileSync(
    script,
    `import { createServer } from ${JSON.stringify(join(ROOT, 'node_modules/vite/dist/node/index.js'))};
    const loader = await createServer({ root: ${JSON.stringify(ROOT)}, configFile: false, envFile: false, publicDir: false, appType: 'custom', logLevel: 'error', server: { middlewareMode: true, hmr: false, ws: false, watch: null }, optimizeDeps: { noDiscovery: true, include: [] } });
    const { ensurePages } = await loader.ssrLoadModule('/src/server/pages/ensure.ts');
    console.log(await ensurePages(console.error, ${JSON.stringify(root)}));
    await loader.close();`,
  );
  const run = () =>
    new Promise<{ code: number; out: string; err: string }>((done) => {
      const [command = '', ...args] = [
        ...(process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-dac_override', '--inh-caps=-dac_override'] : []),
        process.execPath,
        script,
      ];
      execFile(
        command,
        args,
        { env: { ...process.env, HOME: '/nonexistent', XDG_CACHE_HOME: join(folder, 'cache') } },
        (error, out, err) => done({ code: error ? 1 : 0, out: out.trim(), err }),
      );
    });
  const first = await run();
  expect(first, first.err).toMatchObject({
    code: 0,
    err: expect.stringMatching(/^building the pages/),
    out: expect.stringContaining(join(folder, 'cache', 'tabmesh', 'pages-')),
  });
  expect(scriptsOf(first.out)).toMatch(/first/);
  expect(existsSync(join(root, 'build'))).toBe(false);
  expect(await run()).toEqual({ code: 0, err: '', out: first.out });
});
