// The two charts, as HTML and SVG: they take their colours from the theme, grow with their card, and need no canvas.
// The tables beside them hold the same numbers as text.

import { html, nothing, svg } from 'lit';
import type { Ceilings } from '../../../bench/roofline.ts';
import { attainable, barChart, place, roofline } from '../chart-data.ts';
import type { Bar, RooflinePoint } from '../chart-data.ts';
import { digits } from '../numbers.ts';
import type { Row } from '../bench-file.ts';
import { LIBRARY_NAMES } from './settings-form.ts';

export function libraryName(library: string): string {
  return LIBRARY_NAMES[library] ?? library;
}

/** Bars of one workload, a group per shape. */
export function bars(workload: string, rows: readonly Row[]) {
  const { unit, log, groups } = barChart(rows);
  return html`<figure class="bars" aria-label=${`${workload}: ${unit} by shape and library`}>
    <figcaption class="soft small">${unit}, longer is faster${log ? '; logarithmic scale' : ''}</figcaption>
    ${groups.map(
      ({ shape, bars: all }) =>
        html`<div class="group">
          <div class="small shape">${shape}</div>
          ${all.map((bar) => barOf(bar, unit))}
        </div>`,
    )}
  </figure>`;
}

function barOf({ library, value, share, correct }: Bar, unit: string) {
  return html`<div
    class="bar"
    title=${`${libraryName(library)}: ${digits(value)} ${unit}${correct ? '' : ', wrong result'}`}
  >
    <span class="name">${libraryName(library)}</span
    ><span class="track"
      ><i
        data-library=${library}
        class=${correct ? '' : 'wrong'}
        .style=${`width:${(100 * share).toFixed(1)}%`}
      ></i></span
    ><span class="value">${digits(value)}${correct ? '' : ' wrong'}</span>
  </div>`;
}

const WIDTH = 560;
const HEIGHT = 370;
const MARGIN = { left: 66, right: 12, top: 12, bottom: 50 };

/** A mark per workload; the colour says the library. */
const MARKS = [
  'M-5-5H5V5H-5Z',
  'M0-6L6 5H-6Z',
  'M0-6.5L6.5 0L0 6.5L-6.5 0Z',
  'M-5.5 0A5.5 5.5 0 1 0 5.5 0A5.5 5.5 0 1 0-5.5 0Z',
  'M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z',
  'M0 6L6-5H-6Z',
  'M-6-3H6V3H-6Z',
  'M-3-6H3V6H-3Z',
];

/** Intensity against GFLOP/s with the two measured ceilings. */
export function rooflineChart(rows: readonly Row[], ceilings: Ceilings | null) {
  const chart = roofline(rows, ceilings);
  if (!chart) return nothing;
  const { points, x, y, bandwidth, peakGflops, ridge } = chart;
  const atX = (value: number): number => MARGIN.left + place(x, value) * (WIDTH - MARGIN.left - MARGIN.right);
  const atY = (value: number): number =>
    HEIGHT - MARGIN.bottom - place(y, value) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const workloads = [...new Set(points.map(({ workload }) => workload))];
  const libraries = [...new Set(points.map(({ library }) => library))];
  const slopeFrom = Math.max(x.from, y.from / bandwidth);
  const mark = ({
    workload,
    shape,
    library,
    intensity,
    gflops,
    correct,
  }: RooflinePoint) => svg`<path class=${correct ? 'point' : 'point wrong'} data-library=${library} d=${markOf(workloads, workload)} transform=${`translate(${atX(intensity).toFixed(1)} ${atY(gflops).toFixed(1)})`}>
    <title>${`${libraryName(library)}, ${workload} ${shape}: ${digits(gflops)} GFLOP/s at ${digits(intensity)} operations per byte, ${Math.round((100 * gflops) / attainable(chart, intensity))} % of what the ceilings allow${correct ? '' : '; wrong result'}`}</title></path>`;
  return html`<figure class="roofline">
    <figcaption>
      <h2>Roofline</h2>
      <p class="soft small">
        Useful operations per byte against speed, on logarithmic axes; the lines are what this adapter reached in a
        memory loop (${digits(bandwidth)} GB/s) and in multiply-adds (${digits(peakGflops)} GFLOP/s). Data that stays in
        caches may pass the slope.
      </p>
    </figcaption>
    <svg
      viewBox=${`0 0 ${WIDTH} ${HEIGHT}`}
      role="img"
      aria-label=${`Roofline: ${points.length} points under ${digits(bandwidth)} GB/s and ${digits(peakGflops)} GFLOP/s; the tables below hold the numbers`}
    >
      ${x.ticks.map((tick) => svg`<path class="grid" d=${`M${atX(tick)} ${MARGIN.top}V${HEIGHT - MARGIN.bottom}`}></path><text x=${atX(tick)} y=${HEIGHT - MARGIN.bottom + 18} text-anchor="middle">${tick}</text>`)}
      ${y.ticks.map((tick) => svg`<path class="grid" d=${`M${MARGIN.left} ${atY(tick)}H${WIDTH - MARGIN.right}`}></path><text x=${MARGIN.left - 8} y=${atY(tick) + 4} text-anchor="end">${tick}</text>`)}
      <text x=${(WIDTH + MARGIN.left) / 2} y=${HEIGHT - 8} text-anchor="middle">operations per byte</text>
      <text transform=${`translate(16 ${(HEIGHT - MARGIN.bottom) / 2}) rotate(-90)`} text-anchor="middle">GFLOP/s</text>
      <path
        class="roof"
        d=${`M${atX(slopeFrom)} ${atY(slopeFrom * bandwidth)}L${atX(ridge)} ${atY(peakGflops)}H${WIDTH - MARGIN.right}`}
      ></path>
      ${points.filter(({ library }) => library !== 'tabmesh').map(mark)}${points.filter(({ library }) => library === 'tabmesh').map(mark)}
    </svg>
    <div class="keys small">
      ${libraries.map((library) => html`<span><i class="dot" data-library=${library}></i>${libraryName(library)}</span>`)}
      ${workloads.map(
        (workload) =>
          html`<span
            ><svg class="mark" viewBox="-8 -8 16 16" aria-hidden="true">
              <path d=${markOf(workloads, workload)}></path></svg
            >${workload}</span
          >`,
      )}
    </div>
  </figure>`;
}

function markOf(workloads: readonly string[], workload: string): string {
  return MARKS[workloads.indexOf(workload) % MARKS.length]!;
}
