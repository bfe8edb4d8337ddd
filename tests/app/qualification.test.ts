// Measuring between steps takes turns with other tabs, and needs no locks where a browser has or gives none.

import { afterEach, expect, it, vi } from 'vitest';
import { ifFree } from '../../workers/qualification.ts';

afterEach(() => vi.unstubAllGlobals());

const refused = { request: () => Promise.reject(new DOMException('denied', 'SecurityError')) };
type Hold = (lock: object | null) => Promise<string>;
const given = (lock: object | null) => ({ request: async (_: string, __: object, hold: Hold) => hold(lock) });

it.each([
  ['no locks', {}, 'measured'],
  ['refused locks', { locks: refused }, 'measured'],
  ['its turn', { locks: given({}) }, 'measured'],
  ['the turn of another tab', { locks: given(null) }, undefined],
])('with %s', async (_, navigator, got) => {
  vi.stubGlobal('navigator', navigator);
  const work = vi.fn(async () => 'measured');
  expect(await ifFree(work)).toBe(got);
  expect(work).toHaveBeenCalledTimes(got === undefined ? 0 : 1);
});

it('an error of the work is told, and the work not done again', async () => {
  vi.stubGlobal('navigator', { locks: given({}) });
  const work = vi.fn(() => Promise.reject(new Error('the GPU was lost')));
  await expect(ifFree(work)).rejects.toThrow('the GPU was lost');
  expect(work).toHaveBeenCalledTimes(1);
});
