// <line-chart>: curves over steps with uPlot. Each series has its own x values; they are joined when drawn. The legend doubles as the text alternative.
// Attribute `points`: how many points of the first series were drawn last.

import { css, html, LitElement, unsafeCSS } from 'lit';
import uPlot from 'uplot';
import uPlotStyle from 'uplot/dist/uPlot.min.css?inline';
import type { Series } from '../run-view.ts';
import { colour, Repaint } from './repaint.ts';
import { shapes } from './theme.ts';

export interface Curve { readonly name: string; /** A colour of the theme: '--accent'. */ readonly colour: string; readonly series: Series; /** Few points: shows each of them. */ readonly sparse?: boolean }

const STEP_INCREMENTS = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].flatMap((n) => [n, 2 * n, 5 * n]);

export class LineChart extends LitElement {
  static override properties = { curves: { attribute: false }, version: { attribute: false }, heading: {}, digits: { type: Number } };
  static override styles = [shapes, unsafeCSS(uPlotStyle), css`
    :host { position: relative; }
    .plot { height: var(--chart-height, 260px); min-width: 0; overflow: hidden; }
    .empty { position: absolute; inset: 40px 0 0; display: grid; place-items: center; color: var(--soft); pointer-events: none; text-align: center; }
    .key { display: inline-flex; gap: 6px; align-items: center; font-size: 13px; color: var(--soft); font-variant-numeric: tabular-nums; }
    .key i { width: 14px; height: 3px; border-radius: 2px; display: inline-block; }
    .keys { display: flex; gap: 14px; flex-wrap: wrap; }
  `];
  declare curves: readonly Curve[];
  /** Anything that changes when there is something new to draw. */
  declare version: unknown;
  declare heading: string;
  declare digits: number;
  readonly #repaint = new Repaint(this, () => this.#paint());
  #plot: uPlot | undefined;

  constructor() {
    super();
    this.curves = [];
    this.heading = '';
    this.digits = 3;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#plot?.destroy();
    this.#plot = undefined;
  }

  override updated(): void { this.#repaint.request(); }

  override render() {
    const empty = this.curves.every(({ series }) => series.length === 0);
    return html`
      <div class="row spread">
        <h2>${this.heading}</h2>
        <div class="keys">${this.curves.map(({ name, colour: stroke, series }) => html`<span class="key"><i .style=${`background:var(${stroke})`}></i>${name} ${series.last === undefined ? '' : this.#value(series.last)}</span>`)}</div>
      </div>
      <div class="plot" role="img" aria-label=${`${this.heading} over steps; ${this.curves.map(({ name, series }) => `${name} ${series.last === undefined ? 'not yet measured' : this.#value(series.last)}`).join(', ')}`}></div>
      ${empty ? html`<div class="empty small">the curve begins with the first step</div>` : ''}`;
  }

  #value(value: number): string {
    return this.digits > 0 ? value.toFixed(this.digits) : Math.round(value).toLocaleString('en');
  }

  #paint(): void {
    const box = this.renderRoot.querySelector<HTMLElement>('.plot');
    if (!box || box.clientWidth === 0) return;
    this.#plot ??= new uPlot(this.#options(box), [[], ...this.curves.map(() => [])] as uPlot.AlignedData, box);
    if (this.#plot.width !== box.clientWidth || this.#plot.height !== box.clientHeight) this.#plot.setSize({ width: box.clientWidth, height: box.clientHeight });
    const tables = this.curves.map(({ series }) => [series.x.slice(), series.y.slice()] as uPlot.AlignedData);
    this.#plot.setData(tables.length > 1 ? uPlot.join(tables) : tables[0] ?? [[]]);
    this.setAttribute('points', String(this.curves[0]?.series.length ?? 0));
  }

  #options(box: HTMLElement): uPlot.Options {
    const axis = { stroke: () => colour(this, '--soft'), grid: { stroke: () => colour(this, '--edge'), width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' };
    return {
      width: box.clientWidth, height: box.clientHeight, legend: { show: false }, cursor: { y: false, drag: { x: true, y: false } }, padding: [10, 8, 0, 0],
      scales: { x: { time: false } },
      // Steps are whole numbers.
      axes: [{ ...axis, size: 28, incrs: STEP_INCREMENTS }, { ...axis, size: 52, values: (_, ticks) => ticks.map((tick) => (tick >= 1000 ? `${+(tick / 1000).toFixed(1)}k` : String(+tick.toFixed(3)))) }],
      series: [{}, ...this.curves.map(({ name, colour: stroke, sparse }): uPlot.Series => ({
        label: name, stroke: () => colour(this, stroke), width: 2, spanGaps: true, points: sparse ? { show: true, size: 6, fill: () => colour(this, stroke) } : { show: false },
      }))],
    };
  }
}

customElements.define('line-chart', LineChart);
