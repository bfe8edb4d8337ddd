// The folder of built pages that commands serve. An installed package brings it along (build/pages). A checkout builds
// it when it is missing or older than its sources, told by a hash over them, so that no command ever shows yesterday's
// page; where the checkout cannot be written to, in the user's cache folder. A build goes to a folder beside and takes
// its place by renaming, so two commands at once do no harm.

import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { ServeError } from '../../base/errors.ts';
import { isCheckout, packageRoot } from '../root.ts';
import { pagesConfig } from './config.ts';

/** What the pages are made of: files and folders of the package. */
const SOURCES = [
  'index.html',
  'bench.html',
  'collectives.html',
  'driven.html',
  'src',
  'workers',
  'shaders',
  'tsconfig.json',
  'vite.config.ts',
  'package-lock.json',
];
const STAMP = '.stamp';
/** A build that was killed leaves its folder; nobody builds for an hour. */
const ABANDONED_MS = 3_600_000;

/**
 * The folder of the built pages, built first if need be; `say` gets one line then.
 * Throws ServeError when there are none and they cannot be built.
 */
export async function ensurePages(
  say: (line: string) => void = () => undefined,
  root: string = packageRoot(),
): Promise<string> {
  const shipped = join(root, 'build', 'pages');
  if (!isCheckout(root)) {
    if (existsSync(join(shipped, 'index.html'))) return shipped;
    throw new ServeError(`pages: expected the built pages in ${shipped}, found none; install tabmesh again`);
  }
  const stamp = stampOf(root);
  const cached = join(cacheFolder(), `pages-${createHash('sha256').update(root).digest('hex').slice(0, 16)}`);
  const fresh = [shipped, cached].find((folder) => readStamp(folder) === stamp);
  if (fresh !== undefined) return fresh;
  const build = await loadBuild();
  if (build === undefined) {
    if (!existsSync(join(shipped, 'index.html')))
      throw new ServeError(
        'pages: they are not built yet, and Vite, which builds them, is not installed; run `npm install` in the checkout, without --omit=dev',
      );
    say('the pages are older than their sources; `npm install` brings Vite, which builds them anew');
    return shipped;
  }
  const target = canWrite(join(root, 'build')) ? shipped : cached;
  say('building the pages (some seconds, once after each change of the sources)');
  await buildInto(target, stamp, root, build);
  return target;
}

type Build = (typeof import('vite'))['build'];

/** undefined where only production dependencies are installed. */
async function loadBuild(): Promise<Build | undefined> {
  try {
    return (await import('vite')).build;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

async function buildInto(target: string, stamp: string, root: string, build: Build): Promise<void> {
  let made: string | undefined;
  try {
    mkdirSync(dirname(target), { recursive: true });
    sweep(target);
    made = mkdtempSync(`${target}.new-`);
    await runBuild(build, root, made);
    writeFileSync(join(made, STAMP), stamp);
    swap(made, target, stamp);
  } catch (error) {
    const [first = 'unknown error'] = String(error instanceof Error ? error.message : error)
      .split('\n')
      .map((line) => line.trim())
      .filter(Boolean);
    throw new ServeError(
      `pages: the build failed (${first.slice(0, 300)}); \`npm run build\` in ${root} shows all of it`,
      { cause: error },
    );
  } finally {
    if (made !== undefined) rmSync(made, { recursive: true, force: true });
  }
}

async function runBuild(build: Build, root: string, outDir: string): Promise<void> {
  // Vite takes # and ? in a path for the ends of an address, so it gets to see the folder under another name.
  const alias = /[#?]/.test(root) ? mkdtempSync(join(tmpdir(), 'tabmesh-root-')) : undefined;
  const seen = alias === undefined ? root : join(alias, 'checkout');
  const environment = process.env['NODE_ENV'];
  try {
    if (alias !== undefined) symlinkSync(root, seen, 'junction');
    // Libraries have other builds for developers, which warn and are slow.
    process.env['NODE_ENV'] = 'production';
    const config = pagesConfig(seen);
    await build({
      ...config,
      configFile: false,
      envFile: false,
      mode: 'production',
      logLevel: 'silent',
      clearScreen: false,
      ...(alias === undefined ? {} : { resolve: { preserveSymlinks: true } }),
      build: { ...config.build, outDir, emptyOutDir: false, reportCompressedSize: false },
    });
  } finally {
    if (environment === undefined) delete process.env['NODE_ENV'];
    else process.env['NODE_ENV'] = environment;
    if (alias !== undefined) rmSync(alias, { recursive: true, force: true });
  }
}

/**
 * Puts `made` where `target` is. Another process may do the same at this moment; then one of the two equal builds
 * stays.
 */
function swap(made: string, target: string, stamp: string): void {
  const old = `${made}-old`;
  for (let tries = 0; ; tries++) {
    try {
      if (existsSync(target)) renameSync(target, old);
      renameSync(made, target);
      break;
    } catch (error) {
      if (readStamp(target) === stamp) break;
      if (tries === 5) throw error;
    } finally {
      rmSync(old, { recursive: true, force: true });
    }
  }
}

function sweep(target: string): void {
  for (const name of readdirSync(dirname(target))) {
    if (!name.startsWith(`${basename(target)}.new-`)) continue;
    const folder = join(dirname(target), name);
    if (Date.now() - (statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) > ABANDONED_MS)
      rmSync(folder, { recursive: true, force: true });
  }
}

/** A hash over the names and contents of all sources. */
function stampOf(root: string): string {
  const hash = createHash('sha256');
  const add = (path: string): void => {
    const found = statSync(join(root, path), { throwIfNoEntry: false });
    if (found?.isDirectory()) for (const name of readdirSync(join(root, path)).sort()) add(join(path, name));
    else if (found) hash.update(`${path}\0${found.size}\0`).update(readFileSync(join(root, path)));
  };
  for (const source of SOURCES) add(source);
  return hash.digest('hex');
}

function readStamp(folder: string): string | undefined {
  try {
    return readFileSync(join(folder, STAMP), 'utf8');
  } catch {
    // No build there, or one that is not ours to read: it will be made.
    return undefined;
  }
}

function cacheFolder(): string {
  if (process.platform === 'win32') return join(process.env['LOCALAPPDATA'] ?? homedir(), 'tabmesh');
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'tabmesh');
}

/** Whether files can be made in `folder`, or it can be made itself. */
function canWrite(folder: string): boolean {
  try {
    accessSync(existsSync(folder) ? folder : dirname(folder), constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
