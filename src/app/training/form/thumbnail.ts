// A layout in the size of a button: a box per device, a line per neighbour in the colour of what travels; the colours
// are those of <layout-picture>.

import { html, nothing, svg } from 'lit';
import type { AxisName } from '../../../base/axis.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import type { FormFacts } from './fit.ts';
import { pictureOf } from './picture.ts';

/** The colour of what travels along an axis, as the name of a custom property. */
export const AXIS_COLOURS: Readonly<Record<AxisName, string>> = {
  pp: '--accent',
  dp: '--second',
  sp: '--wire',
  ep: '--good',
  tp: '--optimizer',
};

const [BOX_X, BOX_Y, GAP] = [14, 9, 7];

/** Nothing for what `pictureOf` cannot draw. It says nothing that the text beside it does not say. */
export function thumbnail(config: RunConfig, facts: FormFacts) {
  const picture = pictureOf(config, facts);
  if (!picture) return nothing;
  const { columns, rows, boxes, lines } = picture;
  const x = (column: number): number => column * (BOX_X + GAP);
  const y = (row: number): number => row * (BOX_Y + GAP);
  const [width, height] = [x(columns) - GAP, y(rows) - GAP];
  return html`<svg
    aria-hidden="true"
    viewBox="-1 -1 ${width + 2} ${height + 2}"
    width=${width + 2}
    height=${height + 2}
  >
    ${lines.map(({ axis, from, to }) => {
      const [a, b] = [boxes[from]!, boxes[to]!];
      return svg`<line x1=${x(a.column) + BOX_X / 2} y1=${y(a.row) + BOX_Y / 2} x2=${x(b.column) + BOX_X / 2} y2=${y(b.row) + BOX_Y / 2}
        stroke-width="2" .style=${`stroke:var(${AXIS_COLOURS[axis]})`}></line>`;
    })}
    ${boxes.map(({ column, row }) => svg`<rect x=${x(column)} y=${y(row)} width=${BOX_X} height=${BOX_Y} rx="2" .style=${'fill:var(--sunken);stroke:var(--soft)'}></rect>`)}
  </svg>`;
}
