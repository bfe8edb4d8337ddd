// What somebody who was invited reads, and what a tab may be called.

import { describe, expect, it } from 'vitest';
import { inviteOf } from '../../src/app/training/room/invite.ts';
import { keepTabName, MOST_NAME, readTabName, tabName } from '../../src/app/training/link/tab-name.ts';
import { makeJob } from '../../src/app/training/job.ts';
import { RunView } from '../../src/app/training/run-view.ts';
import type { Presence } from '../../src/cluster/presence.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';

const member = (name: string, more: Partial<Presence> = {}): Presence => ({
  id: name,
  name,
  address: name.padEnd(16, '0'),
  order: 1,
  protocolVersion: 3,
  adapter: '',
  software: false,
  role: 'trainer',
  ...more,
});
const config = parseRunConfig([
  ['layout', 'dp=2'],
  ['steps', 100],
  ['context', 64],
]);
const line = (invite: ReturnType<typeof inviteOf>, name: string): string | undefined =>
  invite.lines.find(([known]) => known === name)?.[1];

describe('an invite', () => {
  it('names who asks, the model, the download, and what is shared', () => {
    const invite = inviteOf(
      [member('Ann', { wants: { wish: 1, run: 2, worldSize: 2, plan: makeJob(config) } }), member('Bo')],
      undefined,
    );
    expect(invite.config).toEqual(config);
    expect(line(invite, 'who asks')).toBe('Ann wants to train');
    expect(line(invite, 'model')).toBe('gpt2-nano as dp=2, 100 steps of 8 rows');
    expect(line(invite, 'download')).toBe(
      'Moby Dick, 1.2 MB from this page’s server; no weights: it starts from nothing',
    );
    expect(line(invite, 'time left')).toBe('not begun');
    expect(line(invite, 'they see')).toContain('network address');
  });
  it('says how large the files are that tabs of the room have', () => {
    const file = (name: string, bytes: number) => ({ name, bytes, hash: 'a'.repeat(64) });
    const download = (change: Record<string, unknown>, shared: Record<string, unknown>): string | undefined => {
      const job = { ...makeJob({ ...config, ...change }), shared };
      return line(
        inviteOf([member('Ann', { wants: { wish: 1, run: 2, worldSize: 2, plan: job } })], undefined),
        'download',
      );
    };
    expect(
      download(
        { data: 'map.txt', model: 'mine' },
        { text: file('map.txt', 3e6), weights: file('w', 5e8), modelConfig: file('c', 9) },
      ),
    ).toBe('map.txt, 3.0 MB, from the tab that has it; the weights of mine, 500 MB');
    expect(download({}, { checkpoint: file('checkpoint of step 9', 2e6) })).toContain(
      '; its last checkpoint, 2.0 MB, from the tab that has it',
    );
  });
  it('says how long a run at work will take, from the pace that it tells', () => {
    const work = { run: 1, wish: 1, view: 1, rank: 0, size: 2, phase: 'training' as const };
    const run = new RunView(config);
    run.step = 40;
    expect(line(inviteOf([member('Ann', { run: work })], run), 'time left')).toBe('not known yet');
    run.tokensPerSecond.push(40, 8 * 64);
    const invite = inviteOf([member('Ann', { run: work }), member('Bo', { run: { ...work, rank: 1 } })], run);
    expect([line(invite, 'who asks'), line(invite, 'time left')]).toEqual(['Ann and Bo train', '60 s']);
  });
  it('shows of what others call their model and text only what can be seen', () => {
    const sly = { ...config, model: 'mine\u202eevil', data: 'a\u200b\u0007.txt' };
    const run = new RunView(config);
    const invite = inviteOf([], Object.assign(run, { config: sly }));
    expect([line(invite, 'model'), line(invite, 'download')]).toEqual([
      'mineevil as dp=2, 100 steps of 8 rows',
      'a.txt, from the tab that has it; the weights of mineevil',
    ]);
  });
  it('shows nothing of a job that cannot be read, and says when nobody is here', () => {
    expect(
      inviteOf(
        [member('Ann', { wants: { wish: 1, run: 2, worldSize: 2, plan: { config: { steps: 'x' } } } })],
        undefined,
      ).config,
    ).toBe(undefined);
    expect(line(inviteOf([], undefined), 'who asks')).toBe('nobody is here yet');
  });
});

describe('the name of a tab', () => {
  it('is tidied, bounded, and made of what can be seen', () => {
    expect(readTabName('  Ann’s   laptop ')).toBe('Ann’s laptop');
    expect(readTabName('')).toBe('');
    expect(() => readTabName('x'.repeat(MOST_NAME + 1))).toThrow(
      `name: has ${MOST_NAME + 1} characters; expected at most ${MOST_NAME}`,
    );
    for (const unseen of ['a\u202eb', 'a\u0007b', 'a\u2028b', 'a\u200bb', 'a\nb'])
      expect(() => readTabName(unseen), JSON.stringify(unseen)).toThrow('cannot be seen');
  });
  it('lasts without storage', () => {
    const refused = (): never => {
      throw new DOMException('no', 'SecurityError');
    };
    expect(tabName(refused)).toBe('');
    expect(tabName(() => ({ getItem: () => 'a\u202eb' }))).toBe('');
    keepTabName('Bo', refused);
    expect(tabName(refused)).toBe('Bo');
  });
});
