#!/usr/bin/env node
// Builds the package's subpath tabmesh/collectives for users of plain JavaScript: one ES module without dependencies and its declarations, in build/collectives
// (or the folder given). `npm pack` runs it; in this repository everything imports the TypeScript sources.

import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { build } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = resolve(process.argv[2] ?? join(root, 'build', 'collectives'));
const entry = join(root, 'src', 'collectives', 'index.ts');

rmSync(out, { recursive: true, force: true });
await build({
  root, configFile: false, logLevel: 'error', publicDir: false,
  build: { outDir: out, target: 'es2023', minify: false, lib: { entry, formats: ['es'], fileName: () => 'index.js' } },
});

const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile);
const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root);
const program = ts.createProgram([entry], { ...options, noEmit: false, declaration: true, emitDeclarationOnly: true, outDir: join(out, 'types'), rootDir: join(root, 'src') });
const { diagnostics } = program.emit();
const problems = [...ts.getPreEmitDiagnostics(program), ...diagnostics];
if (problems.length > 0) {
  console.error(ts.formatDiagnostics(problems, { getCanonicalFileName: (name) => name, getCurrentDirectory: () => root, getNewLine: () => '\n' }));
  process.exitCode = 1;
}
