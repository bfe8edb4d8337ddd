// What the page says of files on their way, without a browser.

import { describe, expect, it } from 'vitest';
import {
  amountOf,
  deedOf,
  isOver,
  loadingOf,
  savingOf,
  shownOf,
  withMoved,
} from '../../src/app/training/files/transfers.ts';
import type { Moved, Transfer } from '../../src/app/training/files/transfers.ts';

const text = (moved: number, more: Partial<Moved> = {}): Moved => ({
  key: 'in 1',
  name: 'map.txt',
  way: 'in',
  moved,
  whole: 12e6,
  who: 'from Ada (rank 0)',
  ...more,
});
/** The list after this news, each with its time. */
const after = (...news: readonly (readonly [Moved, number])[]): readonly Transfer[] =>
  news.reduce<readonly Transfer[]>((list, [one, nowMs]) => withMoved(list, one, nowMs), []);

describe('a file on its way', () => {
  it('says how much is here, how fast, and how long the rest takes', () => {
    expect(after([text(0), 1000]).map(amountOf)).toEqual(['0 B of 12 MB']);
    expect(after([text(0), 1000], [text(3e6), 2000]).map(amountOf)).toEqual(['3.0 MB of 12 MB, 3.0 MB/s, 3 s left']);
    const [over] = after([text(0), 1000], [text(3e6), 2000], [text(12e6), 5000]);
    expect([amountOf(over!), isOver(over!), deedOf(over!, true)]).toEqual([
      '12 MB in 4.0 s, 3.0 MB/s',
      true,
      'received',
    ]);
    // Too short to say how fast.
    expect(after([text(0), 0], [text(12e6), 3]).map(amountOf)).toEqual(['12 MB']);
  });
  it('may have a size that nobody has told', () => {
    expect(after([loadingOf('a', 0, undefined), 0]).map(amountOf)).toEqual(['size not known yet']);
    expect(after([loadingOf('a', 0, undefined), 0], [loadingOf('a', 2e6, undefined), 1000]).map(amountOf)).toEqual([
      '2.0 MB, 2.0 MB/s',
    ]);
  });
  it('says what became of it when its run has ended', () => {
    const [half] = after([text(0), 0], [text(6e6), 1000]);
    expect([deedOf(half!, true), deedOf(half!, false)]).toEqual(['receiving', 'broken off:']);
    expect(deedOf(savingOf('the checkpoint'), false)).toBe('not written, the run ended:');
    expect(deedOf(savingOf('c.safetensors', 5), false)).toBe('saved');
    expect(deedOf(text(0, { way: 'out' }), true)).toBe('sending');
  });
});

describe('the list', () => {
  it('has one line for each file, in the order in which they began, and counts one anew that is sent again', () => {
    const list = after(
      [text(0), 0],
      [text(0, { key: 'in 2' }), 0],
      [text(12e6), 1000],
      [text(0), 9000],
      [text(1e6), 10_000],
    );
    expect(list.map(({ key, moved, beganAtMs }) => [key, moved, beganAtMs])).toEqual([
      ['in 1', 1e6, 9000],
      ['in 2', 0, 0],
    ]);
    expect(after(...Array.from({ length: 40 }, (_, i) => [text(0, { key: `${i}` }), i] as const))).toHaveLength(12);
  });
  it('leaves what has come when the run trains, and keeps what was saved', () => {
    const list = after([text(12e6), 0], [text(1, { key: 'out', way: 'out' }), 0], [savingOf('c', 5), 0]);
    expect(shownOf(list, false)).toHaveLength(3);
    expect(shownOf(list, true).map(({ key }) => key)).toEqual(['out', 'save']);
  });
});
