// The package's subpath as its users get it: one module without imports that runs as plain JavaScript, and declarations that a strict consumer compiles against.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

it('builds, runs without our sources, and declares its types', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tabmesh-collectives-'));
  try {
    execFileSync(process.execPath, [join(root, 'bin', 'build-collectives.mjs'), folder], { stdio: 'pipe' });
    const code = readFileSync(join(folder, 'index.js'), 'utf8');
    expect(code).not.toMatch(/^import |import\(/m);
    const script = "import { allReduce, connectLoopback } from './index.js'; const all = connectLoopback(3); const xs = all.map((own) => Float32Array.of(own.rank)); await Promise.all(all.map((own, r) => allReduce(own, xs[r]))); for (const own of all) own.leave(); console.log(xs.map((x) => x[0]).join());";
    writeFileSync(join(folder, 'run.mjs'), script);
    expect(execFileSync(process.execPath, [join(folder, 'run.mjs')], { encoding: 'utf8' }).trim()).toBe('3,3,3');

    const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, { types: string; default: string }> };
    const types = exports['./collectives'].types.replace('./build/collectives', folder);
    expect(exports['./collectives'].default).toBe('./build/collectives/index.js');
    const consumer = join(folder, 'consumer.ts');
    writeFileSync(consumer, `import { allReduce, connectTabs } from '${types.replace('.d.ts', '')}';\nimport type { Communicator } from '${types.replace('.d.ts', '')}';\nconst world: Communicator = await connectTabs('x', 2);\nconst done: Promise<void> = allReduce(world, new Float32Array(4), { wire: 'f16' });\n// @ts-expect-error there is no such format\nvoid allReduce(world, new Float32Array(4), { wire: 'f8' });\nvoid done;\n`);
    const program = ts.createProgram([consumer], { strict: true, noEmit: true, skipLibCheck: true, types: [], target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, lib: ['lib.es2023.d.ts', 'lib.dom.d.ts'] });
    expect(ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);
