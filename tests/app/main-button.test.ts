// The button that begins and stops: one template whatever it means, so one element.

import { expect, it, vi } from 'vitest';
import { mainButton } from '../../src/app/focus/main-button.ts';

it('is one element for both meanings, and presses nothing while it waits or twice for a double click', () => {
  const press = vi.fn();
  const [run, stop] = [mainButton('Run', press), mainButton('Stop', press, { idle: true })];
  expect(run.strings).toBe(stop.strings);
  const click = (drawn: typeof run, detail: number): void => {
    (drawn.values.findLast((value) => typeof value === 'function') as (event: { detail: number }) => void)({ detail });
  };
  click(stop, 1);
  click(run, 2);
  expect(press).not.toHaveBeenCalled();
  // A key says 0.
  click(run, 1);
  click(run, 0);
  expect(press).toHaveBeenCalledTimes(2);
});
