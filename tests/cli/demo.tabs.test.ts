// The demo on real tabs: what it says when it is stopped.

import { expect, test } from 'vitest';
import { tabmeshWith } from './train/support.ts';

test('a Ctrl-C stops the demo after its step and says after how many', async () => {
  const stop = new AbortController();
  let last = 0;
  const redraw = (text: string): void => {
    last = Number(/step (\d+)\/60 /.exec(text)?.[1] ?? last);
    if (last >= 2) stop.abort({ text: 'Ctrl-C', readerGone: false });
  };
  const { code, out, err } = await tabmeshWith(
    { signal: stop.signal, redraw },
    ...['demo', '--headless', '--layout', 'dp=2', '--steps', '60'],
  );
  expect(code, err).toBe(130);
  expect(err).toContain('stopping after this step (Ctrl-C)');
  expect(last).toBeLessThan(60);
  expect(out).toContain(`\nstopped after ${last} steps\nloss `);
});
