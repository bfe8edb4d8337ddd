// What a change of a page's state takes with it.

import { expect, it } from 'vitest';
import { changed, EMPTY_STATE } from '../../src/app/training/room/page-state.ts';
import type { Phase } from '../../src/app/training/room/page-state.ts';

it('a question stays as long as its run trains or pauses, and goes with it', () => {
  const asked = changed({ ...EMPTY_STATE, phase: 'training' }, { question: 'Download?' });
  const after = (phase: Phase): string | undefined => changed(asked, { phase }).question;
  expect(changed(asked, { status: 'waiting' }).question).toBe('Download?');
  expect([after('paused'), after('training')]).toEqual(['Download?', 'Download?']);
  for (const phase of ['idle', 'starting', 'stopping', 'done', 'failed'] as const) expect(after(phase)).toBe(undefined);
});
