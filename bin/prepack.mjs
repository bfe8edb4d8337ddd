#!/usr/bin/env node
// npm's `prepack`: builds all that the package brings along, anew, in build/: the pages, the command line, the collectives, and in one file the notices of all
// libraries within.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
const target = join(root, 'build', 'pages');
const NOTICES = ['pages', 'cli'].map((part) => join(root, 'build', part, 'THIRD-PARTY.md'));

for (const part of ['cli', 'collectives', 'THIRD-PARTY.md']) rmSync(join(root, 'build', part), { recursive: true, force: true });
const { ensurePages } = (await runnerImport(join(root, 'src/server/pages/ensure.ts'), { root, configFile: false, envDir: false, logLevel: 'error' })).module;
// stdout is for what `npm pack --json` says.
const pages = await ensurePages((line) => console.error(line), join(root));
if (pages !== target) throw new Error(`expected to build the pages in ${target}, but it cannot be written to`);
for (const script of ['build-cli.mjs', 'build-collectives.mjs']) execFileSync(process.execPath, [join(root, 'bin', script)], { cwd: root, stdio: ['ignore', 2, 2] });

/** The sections of a list of licences by their headings: `## NAME - VERSION (LICENCE)`. */
function sectionsOf(file) {
  const [, ...sections] = readFileSync(file, 'utf8').split(/^## /m);
  return sections.map((text) => [text.split('\n', 1)[0], `## ${text.trimEnd()}\n`]);
}
const sections = new Map(NOTICES.filter((file) => existsSync(file)).flatMap(sectionsOf));
const head = '# Libraries within build/\n\nTheir code is part of the pages and of the command line. The text of Moby Dick (build/pages/data) is in the public domain.\n';
writeFileSync(join(root, 'build', 'THIRD-PARTY.md'), [head, ...[...sections].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text)].join('\n'));
