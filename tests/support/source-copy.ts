// A copy of the sources in a temporary folder, under git, to which a test adds files: what changed is what git says,
// and commands and contract tests run on the copy as they are.

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import type { SpawnSyncReturns } from 'node:child_process';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const COPIED = ['bin', 'src', 'shaders', 'workers', 'package.json', 'package-lock.json'];
const FOR_TESTS = ['tests', 'tsconfig.json', 'vitest.config.ts'];

/** A test of the copy, by its file and full name. */
export interface Outcome {
  readonly file: string;
  readonly name: string;
  readonly passed: boolean;
}

export interface SourceCopy {
  readonly folder: string;
  /** Puts a file of this repository there, with its relative imports turned; `change` edits its text. */
  plant(from: string, to: string, change?: (text: string) => string): void;
  write(path: string, text: string): void;
  /** Throws if `from` is not there exactly once. */
  edit(path: string, from: string, to: string): void;
  /** Files that differ from the last call, or from the original; in order. */
  changes(): string[];
  tabmesh(...args: string[]): SpawnSyncReturns<string>;
  /** Runs contract tests whose names match `names`. Throws if a file could not be run. */
  test(files: readonly string[], names: RegExp, project?: string): Outcome[];
  remove(): void;
}

/** Relative imports of `text`, a file at `from`, as a file at `to` has to write them; neighbours stay neighbours. */
export function turnImports(text: string, from: string, to: string): string {
  return text.replace(/(from |import\()'(\.\.?\/[^']*)'/g, (_, before: string, path: string) => {
    const target = posix.join(posix.dirname(from), path);
    if (posix.dirname(target) === posix.dirname(from)) return `${before}'${path}'`;
    const turned = posix.relative(posix.dirname(to), target);
    return `${before}'${turned.startsWith('.') ? turned : `./${turned}`}'`;
  });
}

export function copySources({ tests = false } = {}): SourceCopy {
  const folder = mkdtempSync(join(tmpdir(), 'tabmesh-copy-'));
  for (const name of [...COPIED, ...(tests ? FOR_TESTS : [])])
    cpSync(join(ROOT, name), join(folder, name), {
      recursive: true,
      filter: (path) => !path.includes('node_modules') || path.indexOf('node_modules') < ROOT.length,
    });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'), 'junction');
  writeFileSync(join(folder, '.gitignore'), '.gitignore\nnode_modules\n');

  const start = (file: string, args: readonly string[]): SpawnSyncReturns<string> =>
    spawnSync(file, args, {
      encoding: 'utf8',
      cwd: folder,
      env: { ...process.env, NODE_ENV: undefined, VITEST: undefined, TABMESH_TEST_ALL: undefined },
      maxBuffer: 2 ** 28,
    });
  const git = (...args: string[]): string => {
    const identity = ['-c', 'user.name=test', '-c', 'user.email=test@localhost', '-c', 'commit.gpgsign=false'];
    const { status, stdout, stderr } = start('git', [...identity, ...args]);
    if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  git('init', '--quiet');
  const changes = (): string[] => {
    git('add', '--all');
    const names = git('diff', '--cached', '--name-only', '--no-renames').split('\n').filter(Boolean).sort();
    git('commit', '--quiet', '--allow-empty', '--no-verify', '--message', 'a step');
    return names;
  };
  git('commit', '--quiet', '--allow-empty', '--no-verify', '--message', 'nothing');
  changes();

  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  return {
    folder,
    write,
    plant(from, to, change = (text) => text) {
      write(to, change(turnImports(readFileSync(join(ROOT, from), 'utf8'), from, to)));
    },
    edit(path, from, to) {
      const parts = readFileSync(join(folder, path), 'utf8').split(from);
      if (parts.length !== 2) throw new Error(`${path}: expected '${from}' once, found it ${parts.length - 1} times`);
      write(path, parts.join(to));
    },
    changes,
    tabmesh: (...args) => start(process.execPath, [join(folder, 'bin/tabmesh.mjs'), ...args]),
    test(files, names, project = 'node') {
      const report = join(folder, '.git', 'report.json');
      rmSync(report, { force: true });
      const { stderr } = start(process.execPath, [
        join(folder, 'node_modules/vitest/vitest.mjs'),
        ...['run', '--project', project, '--reporter', 'json', '--outputFile', report],
        ...['-t', names.source, ...files],
      ]);
      const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as {
        testResults: {
          name: string;
          message: string;
          assertionResults: { fullName: string; status: 'passed' | 'failed' | 'skipped' }[];
        }[];
      };
      const missing = files.filter(
        (file) => !testResults.some(({ name, assertionResults }) => name.endsWith(file) && assertionResults.length > 0),
      );
      if (missing.length > 0)
        throw new Error(
          `${missing.join(', ')}: not run; ${testResults.map(({ message }) => message).join('\n')} ${stderr}`,
        );
      return testResults.flatMap(({ name, assertionResults }) =>
        assertionResults
          .filter(({ status }) => status !== 'skipped')
          .map(({ fullName, status }) => ({
            file: files.find((file) => name.endsWith(file)) ?? name,
            name: fullName,
            passed: status === 'passed',
          })),
      );
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
