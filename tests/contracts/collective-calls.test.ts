// The contract of every collective that has a file in tests/collectives/calls/: result and bytes for every size, what
// happens when a rank dies midway, and that a damaged message is not missed. A collective that is called nowhere here
// is found out.

import { describe, expect, it } from 'vitest';
import { damaged } from '../support/damaged-group.ts';
import { CALLS, FILES } from '../support/simulated-calls.ts';
import { checkDeath, cluster, counts, LONG, SIZES } from './collective-contract.ts';

const sources = import.meta.glob<string>('../../src/collectives/**/*.ts', {
  query: '?raw',
  import: 'default',
  eager: true,
});
const callers = import.meta.glob<string>(['../collectives/calls/*.ts', '../support/simulated-calls.ts'], {
  query: '?raw',
  import: 'default',
  eager: true,
});

describe.each(FILES)('collective $name', ({ name, run, bytes }) => {
  it.each(SIZES)('of %i ranks has the right result, and sends what its formula says', async (size) => {
    for (const count of [...counts(size), LONG[0]]) {
      for (const salt of [0, 1, size - 1]) {
        const c = cluster(size);
        const right = await Promise.all(c.groups.map((group) => run(group, count, salt)));
        c.leave();
        expect(right, `count ${count}, salt ${salt}`).toEqual(c.groups.map(() => true));
        expect(c.ledgers.map((ledger) => Object.values(ledger.sentByKind()).reduce((a, b) => a + b, 0))).toEqual(
          c.groups.map(({ rank }) => bytes(rank, size, count, salt)),
        );
      }
    }
  });

  it('when a rank dies midway, every survivor rejects with its name', () =>
    checkDeath((group) => run(group, 100_000, 2)));

  it('a message that arrives damaged is caught', async () => {
    const c = cluster(3);
    const right = await Promise.all(c.groups.map((group) => run(damaged(group), 50, 1)));
    c.leave();
    expect(right).toContain(false);
  });

  it('is named after the file of the collective, and is part of the simulated programs', () => {
    expect(Object.keys(sources).some((path) => path.endsWith(`/${name}.ts`))).toBe(true);
    expect(CALLS).toContain(run);
  });
});

/** Files that begin operations and that no simulated program calls. */
function uncalled(files: Readonly<Record<string, string>>, programs: string): readonly string[] {
  return Object.entries(files)
    .filter(([, text]) => /\bgroup\.begin(?:Point)?\('/.test(text))
    .map(([path]) => path.split('/').at(-1)!)
    .filter((file) => !programs.includes(`/${file}';`));
}

it('every collective is called by the simulated programs: add tests/collectives/calls/NAME.ts', () => {
  const programs = Object.values(callers).join('\n');
  expect(uncalled(sources, programs)).toEqual([]);
  expect(uncalled({ 'a/nowhere.ts': "group.begin('send')" }, programs)).toEqual(['nowhere.ts']);
});
