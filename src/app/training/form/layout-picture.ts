// <layout-picture>: who holds what and what travels, for the layout that the form says.

import { css, html, LitElement, nothing, svg } from 'lit';
import type { RunConfig } from '../../../train/run-config.ts';
import { shapes } from '../../shared/elements/theme.ts';
import { NO_FACTS } from './fit.ts';
import type { FormFacts } from './fit.ts';
import { pictureOf } from './picture.ts';
import type { Picture } from './picture.ts';
import { AXIS_COLOURS } from './thumbnail.ts';

const [WIDTH, HEIGHT, GAP_X, GAP_Y] = [150, 52, 34, 24];

export class LayoutPicture extends LitElement {
  static override properties = { config: { attribute: false }, facts: { attribute: false } };
  static override styles = [
    shapes,
    css`
      svg {
        display: block;
        width: 100%;
        height: auto;
        max-height: 300px;
        margin: 8px 0;
      }
      rect {
        fill: var(--sunken);
        stroke: var(--edge);
      }
      line {
        stroke-width: 3;
      }
      text {
        font:
          11px system-ui,
          sans-serif;
        fill: var(--ink);
      }
      text.rank {
        font-weight: 700;
      }
      text.holds {
        fill: var(--soft);
      }
      ul {
        list-style: none;
        margin: 0;
        padding: 0;
        display: grid;
        gap: 3px;
        font-size: 13px;
        color: var(--soft);
      }
      i {
        display: inline-block;
        width: 14px;
        height: 3px;
        border-radius: 2px;
        margin-right: 7px;
        vertical-align: middle;
      }
    `,
  ];
  declare config: RunConfig | undefined;
  declare facts: FormFacts;

  constructor() {
    super();
    this.facts = NO_FACTS;
  }

  override render() {
    const picture = this.config && pictureOf(this.config, this.facts);
    if (!picture) return nothing;
    return html`<h2>Who holds what</h2>
      ${draw(picture)}
      ${
        picture.travels.length
          ? html`<ul aria-label="What travels">
              ${picture.travels.map(({ axis, text }) => html`<li><i .style=${`background:var(${AXIS_COLOURS[axis]})`}></i><b>${axis}</b> ${text}</li>`)}
            </ul>`
          : html`<p class="small soft">nothing travels: this is the plain run that all others must equal</p>`
      }`;
  }
}

function draw({ columns, rows, boxes, lines }: Picture) {
  const x = (column: number): number => column * (WIDTH + GAP_X);
  const y = (row: number): number => row * (HEIGHT + GAP_Y);
  const [width, height] = [x(columns) - GAP_X, y(rows) - GAP_Y];
  const label = boxes.map(({ rank, holds }) => `device ${rank}: ${holds.join('; ')}`).join('. ');
  return html`<svg
    viewBox="-2 -2 ${width + 4} ${height + 4}"
    .style=${`max-width:${width + 4}px`}
    role="img"
    aria-label=${label}
  >
    ${lines.map(({ axis, from, to }) => {
      const [a, b] = [boxes[from]!, boxes[to]!];
      // Lines of two axes between the same columns or rows lie side by side.
      const shift = { pp: -8, dp: -24, sp: 8, ep: 24, tp: 8 }[axis];
      const across = a.row === b.row;
      return across
        ? svg`<line x1=${x(a.column) + WIDTH} x2=${x(b.column)} y1=${y(a.row) + HEIGHT / 2 + shift} y2=${y(b.row) + HEIGHT / 2 + shift} .style=${`stroke:var(${AXIS_COLOURS[axis]})`}></line>`
        : svg`<line x1=${x(a.column) + WIDTH / 2 + shift} x2=${x(b.column) + WIDTH / 2 + shift} y1=${y(a.row) + HEIGHT} y2=${y(b.row)} .style=${`stroke:var(${AXIS_COLOURS[axis]})`}></line>`;
    })}
    ${boxes.map(
      ({
        rank,
        column,
        row,
        holds,
      }) => svg`<g transform="translate(${x(column)} ${y(row)})"><rect width=${WIDTH} height=${HEIGHT} rx="9"></rect>
      <text class="rank" x="9" y="16">device ${rank}</text>${holds.map((text, i) => svg`<text class="holds" x="9" y=${31 + 14 * i}>${text}</text>`)}</g>`,
    )}
  </svg>`;
}

customElements.define('layout-picture', LayoutPicture);
