// The page driven.html: `verify --backend chromium` and `bench` call these two by name in an otherwise empty page.

import type { bench } from './bench/page.ts';
import type { runCasesInPage } from './verify/page.ts';

const driven = {
  bench: (async (...given: Parameters<typeof bench>) =>
    (await import('./bench/page.ts')).bench(...given)) as typeof bench,
  runCases: (async (options) => (await import('./verify/page.ts')).runCasesInPage(options)) as typeof runCasesInPage,
};

Object.assign(globalThis, { driven });
