// The button that begins and stops: one template whatever it means, so one element, on all pages.

import { expect, it, vi } from 'vitest';
import { TabmeshApp } from '../../src/app/training/elements/app.ts';
import { mainButton, pressOnce } from '../../src/app/shared/elements/main-button.ts';
import { EMPTY_STATE } from '../../src/app/training/room/page-state.ts';

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

it('is drawn by itself on each of the pages', () => {
  const app = Object.assign(new TabmeshApp(), {
    settings: { auto: false, backend: 'cpu', ice: { iceServers: [], relayOnly: false } },
    controller: { busy: false },
    past: { runs: [], trouble: '' },
    state: EMPTY_STATE,
  });
  const { strings } = mainButton('Train', () => {});
  const within = (drawn: unknown): readonly unknown[] =>
    Array.isArray(drawn)
      ? drawn.flatMap(within)
      : typeof drawn === 'object' && drawn !== null && 'strings' in drawn
        ? [drawn.strings, ...within((drawn as unknown as { values: unknown[] }).values)]
        : [];
  expect(within(app.render()).filter((its) => its === strings)).toHaveLength(1);
});

it('is pressed once by a key that is held down', () => {
  const prevented = (key: string, repeat: boolean): boolean => {
    const preventDefault = vi.fn();
    pressOnce({ key, repeat, preventDefault });
    return preventDefault.mock.calls.length > 0;
  };
  expect([prevented('Enter', true), prevented(' ', true)]).toEqual([true, true]);
  expect([prevented('Enter', false), prevented('Tab', true)]).toEqual([false, false]);
});
