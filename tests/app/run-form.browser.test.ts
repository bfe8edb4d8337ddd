// <run-form> in a browser: how its examples stand beside each other.

import { afterEach, expect, test } from 'vitest';
import { RunForm } from '../../src/app/training/elements/run-form.ts';
import { draftOf } from '../../src/app/training/form/draft.ts';
import { NO_FACTS } from '../../src/app/training/form/fit.ts';
import { presetConfig, PRESETS } from '../../src/app/training/presets.ts';

afterEach(() => document.body.replaceChildren());

test('no example stands alone in its row, and none is cut, however wide the form is', async () => {
  const form = Object.assign(new RunForm(), { draft: draftOf(presetConfig(PRESETS[0]!)), facts: NO_FACTS });
  const frame = document.createElement('div');
  frame.style.font = '14px sans-serif';
  frame.append(form);
  document.body.append(frame);
  await form.updateComplete;
  const rowsAt = (width: number): number[] => {
    frame.style.width = `${width}px`;
    const buttons = [...form.shadowRoot!.querySelectorAll('.presets button')];
    for (const button of buttons) expect(button.scrollWidth, `${width} px`).toBeLessThanOrEqual(button.clientWidth);
    const bottoms = buttons.map((button) => Math.round(button.getBoundingClientRect().bottom));
    return [...new Set(bottoms)].map((bottom) => bottoms.filter((its) => its === bottom).length);
  };
  expect(rowsAt(840)).toEqual([7]);
  expect(rowsAt(700)).toEqual([7]);
  for (let width = 330; width < 700; width += 10) expect(rowsAt(width), `${width} px`).toEqual([4, 3]);
});
