// What a change of a page's state takes with it.

import { expect, it } from 'vitest';
import { changed, differsInMore, EMPTY_STATE, roomAt } from '../../src/app/training/room/page-state.ts';
import type { PageState, Phase } from '../../src/app/training/room/page-state.ts';

it('a question stays as long as its run trains or pauses, and goes with it', () => {
  const asked = changed({ ...EMPTY_STATE, phase: 'training' }, { question: 'Download?' });
  const after = (phase: Phase): string | undefined => changed(asked, { phase }).question;
  expect(changed(asked, { status: 'waiting' }).question).toBe('Download?');
  expect([after('paused'), after('training')]).toEqual(['Download?', 'Download?']);
  for (const phase of ['idle', 'starting', 'stopping', 'done', 'failed'] as const) expect(after(phase)).toBe(undefined);
});

it('is news when more has changed than numbers of the same run and files', () => {
  const transfer = { key: 'a', name: 'a', way: 'in', moved: 1, whole: 3, who: '', beganAtMs: 0, atMs: 1 } as const;
  const state: PageState = { ...EMPTY_STATE, transfers: [transfer] };
  expect(differsInMore({ ...state }, state)).toBe(false);
  expect(differsInMore({ ...state, transfers: [{ ...transfer, moved: 2 }] }, state)).toBe(false);
  const changes: { readonly [K in Exclude<keyof PageState, 'run'>]: PageState[K] } = {
    phase: 'training',
    status: 'waiting',
    problems: [],
    stays: true,
    watching: [],
    room: roomAt({ room: 'r', key: 'k' }),
    connections: [],
    question: '',
    goOn: 0,
    transfers: [],
    checkpoint: { step: 0, bytes: new Uint8Array() },
  };
  for (const [name, value] of Object.entries(changes))
    expect(differsInMore({ ...state, [name]: value }, state), name).toBe(true);
});
