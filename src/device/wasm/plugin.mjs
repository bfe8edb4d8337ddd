// A Vite plugin that compiles the WebAssembly kernels. `virtual:wasm-kernels/BUILD` is one module of all kernels of
// shaders/**/*.as.ts, as base64: whoever imports it, in a page, a worker, Node or a test, gets the same bytes from the
// same file, and a page loads only the build that its browser takes. A kernel x.as.ts beside x.ts exports a function
// with the name of the kernel; other files of the kind are parts of kernels. Compiling takes a second, so the result is
// kept in node_modules/.cache by the hash of what it was made of.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const PREFIX = 'virtual:wasm-kernels/';
/** What a build may use beyond 128-bit vectors: multiply-adds that may round once; memory shared by threads. */
const BUILDS = {
  plain: { relaxed: false, shared: false },
  relaxed: { relaxed: true, shared: false },
  'plain-shared': { relaxed: false, shared: true },
  'relaxed-shared': { relaxed: true, shared: true },
};
/** Pages of 64 KiB: 4 GiB, all that 32-bit addresses reach. */
const MOST_PAGES = 65536;

/** All sources of kernels under `root`, by path without `.ts`, sorted. */
export function kernelSources(root = ROOT) {
  const folder = join(root, 'shaders');
  const paths = readdirSync(folder, { recursive: true }).map((path) => path.replaceAll('\\', '/'));
  return new Map(
    paths
      .filter((path) => path.endsWith('.as.ts'))
      .sort()
      .map((path) => [path.replace(/\.ts$/, ''), readFileSync(join(folder, path), 'utf8')]),
  );
}

/**
 * The text of the module's entry: one export per kernel, and the tile of products, which the compiler would otherwise
 * move into its caller. There its sums no longer fit in registers, which halves the speed.
 */
function entryOf(root, sources) {
  const kernels = [...sources.keys()].filter((path) => existsSync(join(root, 'shaders', path.replace(/\.as$/, '.ts'))));
  const nameOf = (path) =>
    path
      .split('/')
      .at(-1)
      .replace(/\.as$/, '')
      .replace(/-(\w)/g, (_, letter) => letter.toUpperCase());
  return [
    "export { meet, placeThread } from './wasm/threads.as';",
    "export { tile } from './matmul/tile.as';",
    ...kernels.map((path) => `export { ${nameOf(path)} } from './${path}';`),
  ].join('\n');
}

/** The compiled module of `sources`. Throws with the compiler's messages. */
export async function compileKernels(build, root = ROOT, sources = kernelSources(root)) {
  const { relaxed, shared } = BUILDS[build];
  const { default: asc } = await import('assemblyscript/asc');
  const entry = entryOf(root, sources);
  let binary;
  const { error, stderr } = await asc.main(
    [
      'kernels.ts',
      '-O3',
      '--noAssert',
      ...['--runtime', 'stub'],
      ...['--use', 'abort='],
      '--importMemory',
      ...['--enable', ['simd', 'threads', ...(relaxed ? ['relaxed-simd'] : [])].join(',')],
      ...(shared ? ['--sharedMemory', '--initialMemory', '1', '--maximumMemory', String(MOST_PAGES)] : []),
      ...['--outFile', 'kernels.wasm'],
    ],
    {
      readFile: (name) => (name === 'kernels.ts' ? entry : (sources.get(name.replace(/\.ts$/, '')) ?? null)),
      writeFile: (_, contents) => {
        binary = contents;
      },
      listFiles: () => [],
    },
  );
  if (error) throw new Error(`WebAssembly kernels: ${error.message}\n${stderr.toString()}`);
  if (hasData(binary))
    throw new Error('WebAssembly kernels: a kernel brings constants in memory (a table of Math?), where threads meet');
  return binary;
}

/** Whether the module writes to its memory when it is instantiated: section 11. */
function hasData(binary) {
  let at = 8;
  while (at < binary.length) {
    const section = binary[at++];
    let [size, shift] = [0, 0];
    for (;;) {
      const byte = binary[at++];
      size |= (byte & 127) << shift;
      shift += 7;
      if (byte < 128) break;
    }
    if (section === 11 && size > 1) return true;
    at += size;
  }
  return false;
}

/** The same in base64, from the cache if these sources were compiled before. */
async function encodedKernels(build, root) {
  const sources = kernelSources(root);
  const { version } = JSON.parse(readFileSync(join(ROOT, 'node_modules/assemblyscript/package.json'), 'utf8'));
  const key = createHash('sha256')
    .update(JSON.stringify([version, readFileSync(fileURLToPath(import.meta.url), 'utf8'), [...sources]]))
    .digest('hex')
    .slice(0, 32);
  const kept = join(ROOT, 'node_modules', '.cache', 'tabmesh', `kernels-${build}-${key}.wasm`);
  if (existsSync(kept)) return readFileSync(kept).toString('base64');
  const binary = Buffer.from(await compileKernels(build, root, sources));
  try {
    mkdirSync(dirname(kept), { recursive: true });
    writeFileSync(`${kept}.${process.pid}`, binary);
    renameSync(`${kept}.${process.pid}`, kept);
  } catch {
    // Installed where nothing may be written: compiled again next time.
  }
  return binary.toString('base64');
}

/** The plugin, for the sources under `root`. */
export function wasmKernels(root = ROOT) {
  return {
    name: 'tabmesh-wasm-kernels',
    resolveId: (id) => (id.startsWith(PREFIX) ? `\0${id}` : undefined),
    async load(id) {
      if (!id.startsWith(`\0${PREFIX}`)) return undefined;
      const build = id.slice(PREFIX.length + 1);
      for (const path of kernelSources(root).keys()) this.addWatchFile(join(root, 'shaders', `${path}.ts`));
      return `export default ${JSON.stringify(await encodedKernels(build, root))};`;
    },
  };
}
