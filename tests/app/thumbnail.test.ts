// The small picture of a layout: a box per device, and a line for each pair that sends, in the colour of what travels.

import { expect, it } from 'vitest';
import { worldSize } from '../../src/base/axis.ts';
import type { AxisName } from '../../src/base/axis.ts';
import { NO_FACTS } from '../../src/app/training/form/fit.ts';
import { AXIS_COLOURS, thumbnail } from '../../src/app/training/form/thumbnail.ts';
import { presetConfig, PRESETS } from '../../src/app/training/presets.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';

/** The lists of a template: lines, then boxes. */
function drawn(template: unknown): readonly (readonly { readonly values: readonly unknown[] }[])[] {
  return (template as { values: unknown[] }).values.filter((value) => Array.isArray(value));
}

it.each(PRESETS.map((preset) => [preset.name, presetConfig(preset)] as const))('%s', (_, config) => {
  const [lines, boxes] = drawn(thumbnail(config, NO_FACTS));
  expect(boxes).toHaveLength(worldSize(config.layout));
  const colours = new Set(lines!.map(({ values }) => values.at(-1)));
  const axes = (Object.keys(config.layout) as AxisName[]).filter((axis) => config.layout[axis] > 1);
  expect(colours).toEqual(new Set(axes.map((axis) => `stroke:var(${AXIS_COLOURS[axis]})`)));
  // Every device but one sends along some line.
  expect(lines!.length).toBeGreaterThanOrEqual(boxes!.length - 1);
});

it('too many devices to draw are not drawn', () => {
  expect(
    drawn(
      thumbnail(
        parseRunConfig([
          ['layout', 'dp=16'],
          ['batch', '16'],
        ]),
        NO_FACTS,
      ),
    ),
  ).toHaveLength(2);
  expect(
    (
      thumbnail(
        parseRunConfig([
          ['layout', 'dp=32'],
          ['batch', '32'],
        ]),
        NO_FACTS,
      ) as { values?: unknown }
    ).values,
  ).toBeUndefined();
});
