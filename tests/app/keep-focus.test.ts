// Where the focus goes when what had it is drawn no more. Pure: elements and roots are what KeepFocus asks of them.

import { expect, it, vi } from 'vitest';
import { RunHistory } from '../../src/app/training/elements/run-history.ts';
import { SharePanel } from '../../src/app/training/elements/share-panel.ts';
import { KeepFocus } from '../../src/app/shared/elements/keep-focus.ts';

class Thing {
  isConnected = true;
  focused = 0;
  readonly disabled: boolean;
  constructor(disabled = false) {
    this.disabled = disabled;
  }
  matches(selector: string): boolean {
    return selector === ':disabled' && this.disabled;
  }
  focus(): void {
    this.focused++;
  }
}

/** Draws `after` in the place of `before`, of which `had` has the focus. */
function redraw(before: readonly Thing[], had: Thing | null, after: readonly Thing[]): void {
  const root = { activeElement: had, querySelectorAll: () => before };
  const host = { shadowRoot: root, addController: () => undefined };
  const keep = new KeepFocus(host as unknown as ConstructorParameters<typeof KeepFocus>[0]);
  keep.hostUpdate();
  for (const thing of before) thing.isConnected = after.includes(thing);
  root.querySelectorAll = () => after;
  keep.hostUpdated();
}

it('goes to what stands in its place, else to the last that can have it', () => {
  const [a, b, c, d] = [new Thing(), new Thing(), new Thing(), new Thing()];
  redraw([a, b, c], b, [a, c]);
  redraw([a, b, d], d, [a, b]);
  expect([a, b, c, d].map(({ focused }) => focused)).toEqual([0, 1, 1, 0]);
});

it('passes by what is disabled', () => {
  const [a, b, c] = [new Thing(), new Thing(), new Thing(true)];
  redraw([b, a], b, [c, a]);
  redraw([a, b], b, [a, c]);
  expect([a.focused, c.focused]).toEqual([2, 0]);
});

it('takes no focus that was elsewhere, or that stayed', () => {
  const [a, b] = [new Thing(), new Thing()];
  redraw([a, b], null, [a]);
  redraw([a, b], a, [a]);
  expect([a.focused, b.focused]).toEqual([0, 0]);
});

it('is kept where rows and buttons go when they are pressed', () => {
  const asked = vi.spyOn(KeepFocus.prototype, 'hostUpdate');
  for (const Kind of [RunHistory, SharePanel]) {
    asked.mockClear();
    const element = new Kind() as unknown as { hasUpdated: boolean; performUpdate(): void; update(): void };
    // What it draws is not drawn: there is no document.
    Object.assign(element, { renderRoot: {}, update: () => undefined });
    element.performUpdate();
    expect(asked, Kind.name).toHaveBeenCalled();
  }
});
