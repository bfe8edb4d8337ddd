// The texts of the repository: every relative link leads to a file, every anchor to a heading, every path in code marks
// to something that is there; the README stays short, and lines stay readable in an editor.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const MAX_README_LINES = 120;
const MAX_COLUMNS = 120;
/** Paths from the root of the repository; `x` and capitals stand for a name of the reader's choice. */
const PATH = /^(?:\.ci|\.github|bin|docs|examples|packages|shaders|src|tests|workers)\/[\w./-]*$/;
const PLACEHOLDER = /(?:^|\/)x(?:\.|-|\/|$)|[A-Z]{2,}(?!\.md)/;

interface Line {
  readonly text: string;
  readonly number: number;
}

/** The lines outside of fenced code. */
function proseOf(text: string): readonly Line[] {
  let fenced = false;
  return text.split('\n').flatMap((line, i) => {
    const fence = /^\s*```/.test(line);
    if (fence) fenced = !fenced;
    return fence || fenced ? [] : [{ text: line, number: i + 1 }];
  });
}

/** Ids that GitHub gives to the headings of a Markdown text. */
function anchorsOf(text: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const { text: line } of proseOf(text)) {
    const heading = /^#{1,6}\s+(.*?)\s*$/.exec(line)?.[1];
    if (heading === undefined) continue;
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const slug = plain.replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '').replaceAll(' ', '-');
    let anchor = slug;
    for (let again = 1; anchors.has(anchor); again++) anchor = `${slug}-${again}`;
    anchors.add(anchor);
  }
  return anchors;
}

/**
 * What is wrong with the links and paths of the Markdown text at `path`, one sentence each.
 * @param textOf The text of a file of the repository, '' for a folder; undefined if there is no such thing.
 */
function problemsIn(path: string, textOf: (path: string) => string | undefined): readonly string[] {
  const text = textOf(path) ?? '';
  const problems: string[] = [];
  for (const { text: line, number } of proseOf(text)) {
    const say = (what: string) => problems.push(`${path}:${number} ${what}`);
    for (const [, code] of line.matchAll(/`([^`]+)`/g)) {
      const named = code!.replace(/:\d+$/, '');
      if (PATH.test(named) && !PLACEHOLDER.test(named) && textOf(named.replace(/\/$/, '')) === undefined)
        say(`names ${named}: there is no such file`);
    }
    for (const [, target] of line.replace(/`[^`]*`/g, '').matchAll(/\]\(\s*<?([^\s)>]+)>?[^)]*\)/g)) {
      if (/^[a-z][a-z\d+.-]*:/i.test(target!)) continue;
      const [file, anchor] = decodeURI(target!).split('#') as [string, string?];
      const there = file === '' ? path : normalize(join(dirname(path), file)).replace(/\/$/, '');
      const found = textOf(there);
      if (found === undefined) say(`links to ${target}: there is no such file`);
      else if (anchor !== undefined && !anchorsOf(found).has(anchor)) say(`links to ${target}: no such heading`);
    }
  }
  return problems;
}

const tooWide = (path: string, text: string): readonly string[] =>
  proseOf(text)
    .filter(({ text: line }) => line.length > MAX_COLUMNS && !/^\s*\|/.test(line))
    .map(({ text: line, number }) => `${path}:${number} has ${line.length} columns: at most ${MAX_COLUMNS}`);

function read(path: string): string | undefined {
  const place = join(root, path);
  if (path.startsWith('..') || !existsSync(place)) return undefined;
  return path.endsWith('.md') ? readFileSync(place, 'utf8') : '';
}

const TEXTS = [
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'packages/collectives/README.md'],
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

it.each(TEXTS)('%s leads nowhere but to what is there, and is not too wide', (path) => {
  expect(read(path)).toBeDefined();
  expect(problemsIn(path, read)).toEqual([]);
  expect(tooWide(path, read(path)!)).toEqual([]);
});

it('the README is short, and leads to every text of docs/', () => {
  const readme = read('README.md')!;
  expect(readme.trimEnd().split('\n').length).toBeLessThanOrEqual(MAX_README_LINES);
  for (const path of TEXTS.filter((name) => name.startsWith('docs/'))) expect(readme).toContain(`](${path})`);
});

it('the changelog tells of the version that is packed', () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  expect(read('CHANGELOG.md')).toMatch(
    new RegExp(`^## ${version.replaceAll('.', '\\.')} \\(\\d{4}-\\d\\d-\\d\\d\\)$`, 'm'),
  );
});

describe('a seeded mistake is found', () => {
  const files: Readonly<Record<string, string>> = {
    'README.md': '# Name\n\n## Why `a.b`, and how?\n\n## Twice\n\n## Twice\n',
    docs: '',
    'docs/there.md': '# A [linked](x.md) title\n\n```\n# no heading\n```\n',
    'docs/picture.png': '',
    src: '',
    'src/there.ts': '',
  };
  const check = (text: string, path = 'docs/new.md') => problemsIn(path, (name) => ({ ...files, [path]: text })[name]);

  it.each([
    ['a file that is not there', '[a](gone.md)', ['docs/new.md:1 links to gone.md: there is no such file']],
    ['a picture that is not there', '![a](gone.png)', ['docs/new.md:1 links to gone.png: there is no such file']],
    ['a wrong folder', '\n[a](docs/there.md)', ['docs/new.md:2 links to docs/there.md: there is no such file']],
    ['an anchor of another text', '[a](there.md#gone)', ['docs/new.md:1 links to there.md#gone: no such heading']],
    ['an anchor of its own', '# Here\n[a](#there)', ['docs/new.md:2 links to #there: no such heading']],
    [
      'a heading within code',
      '[a](there.md#no-heading)',
      ['docs/new.md:1 links to there.md#no-heading: no such heading'],
    ],
    ['a third of two', '[a](../README.md#twice-2)', ['docs/new.md:1 links to ../README.md#twice-2: no such heading']],
    ['a path in code marks', 'See `src/gone.ts`.', ['docs/new.md:1 names src/gone.ts: there is no such file']],
  ])('%s', (_, text, problems) => {
    expect(check(text)).toEqual(problems);
  });

  it('but not what is right', () => {
    const right = [
      '[a](there.md#a-linked-title) [b](../README.md#why-ab-and-how) [c](../README.md#twice-1) [d](../docs/)',
      '![e](picture.png) [f](https://example.org/gone.md#x) [g](#here) `[h](gone.md)` `src/there.ts:3` `src/x.ts`',
      '# Here',
      '```',
      '[i](gone.md) `src/gone.ts`',
      '```',
    ];
    expect(check(right.join('\n'))).toEqual([]);
  });

  it('a line that is too wide', () => {
    expect(tooWide('a.md', `a\n${'b'.repeat(121)}\n| ${'c'.repeat(200)} |\n`)).toEqual([
      'a.md:2 has 121 columns: at most 120',
    ]);
  });
});
