// <line-chart>: curves over steps with uPlot. Each series has its own x values; they are joined when drawn. The keys
// show the value at the pointer, or at the step that the arrow keys chose, else the last one. A stretch that was zoomed
// into stays while new points come. Attribute `points`: how many points of the first series were drawn last.

import { css, html, LitElement, nothing, unsafeCSS } from 'lit';
import uPlot from 'uplot';
import uPlotStyle from 'uplot/dist/uPlot.min.css?inline';
import { figure, indexAt, positive, smoothed, tickLabel, valueAt, zoomed } from '../charts/curve.ts';
import type { Curve } from '../charts/curve.ts';
import { colour, Repaint } from '../../shared/elements/repaint.ts';
import { shapes } from '../../shared/elements/theme.ts';

const STEP_INCREMENTS = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].flatMap((n) => [n, 2 * n, 5 * n]);
const LINEAR = 1;
const LOGARITHMIC = 3;

interface Line {
  readonly curve: Curve;
  readonly faint: boolean;
  readonly x: readonly number[];
  readonly y: readonly number[];
}

export class LineChart extends LitElement {
  static override properties = {
    curves: { attribute: false },
    version: { attribute: false },
    heading: {},
    digits: { type: Number },
    adjustable: { type: Boolean },
    at: { state: true },
    zoom: { state: true },
    smoothing: { state: true },
    log: { state: true },
  };
  static override styles = [
    shapes,
    unsafeCSS(uPlotStyle),
    css`
      :host {
        position: relative;
      }
      .plot {
        height: var(--chart-height, 260px);
        min-width: 0;
        overflow: hidden;
        border-radius: 6px;
      }
      .plot:focus-visible {
        outline: 2px solid var(--accent);
        outline-offset: 2px;
      }
      .empty {
        position: absolute;
        inset: 60px 0 0;
        display: grid;
        place-items: center;
        color: var(--soft);
        pointer-events: none;
        text-align: center;
      }
      .key {
        display: inline-flex;
        gap: 6px;
        align-items: center;
        font-size: 13px;
        color: var(--soft);
        font-variant-numeric: tabular-nums;
        overflow-wrap: anywhere;
      }
      .key i {
        width: 14px;
        height: 3px;
        border-radius: 2px;
        display: inline-block;
        flex: none;
      }
      .keys {
        display: flex;
        gap: 4px 14px;
        flex-wrap: wrap;
        min-height: 22px;
      }
      .tools {
        display: flex;
        gap: 12px;
        flex-wrap: wrap;
        align-items: center;
        font-size: 13px;
        color: var(--soft);
        margin-top: 6px;
      }
      .tools label {
        display: inline-flex;
        gap: 6px;
        align-items: center;
      }
      .tools input {
        width: auto;
        min-height: 0;
        padding: 0;
        accent-color: var(--accent);
      }
      .tools input[type='range'] {
        width: 90px;
        border: 0;
        background: transparent;
      }
      .tools button {
        min-height: 28px;
        padding: 1px 10px;
        font-size: 13px;
      }
    `,
  ];
  declare curves: readonly Curve[];
  /** Anything that changes when there is something new to draw. */
  declare version: unknown;
  declare heading: string;
  declare digits: number;
  /** Offers smoothing and a logarithmic axis. */
  declare adjustable: boolean;
  /** The step that the keys speak of; undefined: the last of each. */
  declare at: number | undefined;
  /** The stretch of steps that is shown; undefined: all. */
  declare zoom: readonly [number, number] | undefined;
  declare smoothing: number;
  declare log: boolean;
  readonly #repaint = new Repaint(this, () => this.#paint());
  #plot: uPlot | undefined;
  /** The step that a key has pointed at. */
  #pinned: number | undefined;
  #made = '';

  constructor() {
    super();
    this.curves = [];
    this.heading = '';
    this.digits = 3;
    this.adjustable = false;
    this.smoothing = 0;
    this.log = false;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#plot?.destroy();
    this.#plot = undefined;
  }

  override updated(changed: Map<PropertyKey, unknown>): void {
    // What only moved the pointer draws itself.
    if (changed.size > 1 || !changed.has('at')) this.#repaint.request();
  }

  override render() {
    const empty = this.curves.every(({ series }) => series.x.length === 0);
    const { at } = this;
    const [first, last] = this.#whole();
    const said = this.curves.map(
      ({ name, series }) => `${name} ${this.#value(at === undefined ? series.y.at(-1) : valueAt(series, at))}`,
    );
    return html` <div class="row spread">
        <h2>
          ${this.heading}${at === undefined ? '' : html` <span class="soft small">at step ${Math.round(at)}</span>`}
        </h2>
        <div class="keys">
          ${this.curves.map(({ colour: stroke }, i) => html`<span class="key"><i .style=${`background:${stroke.startsWith('--') ? `var(${stroke})` : stroke}`}></i>${said[i]}</span>`)}
        </div>
      </div>
      <div
        class="plot"
        role="slider"
        tabindex=${empty ? '-1' : '0'}
        aria-label=${`${this.heading} over steps`}
        aria-valuemin=${first}
        aria-valuemax=${last}
        aria-valuenow=${Math.round(at ?? last)}
        aria-valuetext=${`step ${Math.round(at ?? last)}: ${said.join(', ')}`}
        title="Drag to look closer; double click shows all again. Keys: arrows, Home, End, + and -, Escape."
        @keydown=${(event: KeyboardEvent) => this.#onKey(event)}
        @blur=${() => this.#point(undefined)}
      ></div>
      ${empty ? html`<div class="empty small">the curve begins with the first step</div>` : ''}
      ${
        this.adjustable || this.zoom
          ? html`<div class="tools">
              ${
                this.adjustable
                  ? html`<label
                        >Smooth
                        <input
                          type="range"
                          name="smooth"
                          min="0"
                          max="0.99"
                          step="0.01"
                          .value=${String(this.smoothing)}
                          aria-valuetext=${this.smoothing === 0 ? 'off' : String(this.smoothing)}
                          @input=${(event: Event) => {
                            this.smoothing = Number((event.target as HTMLInputElement).value);
                          }}
                        /><span aria-hidden="true"
                          >${this.smoothing === 0 ? 'off' : this.smoothing.toFixed(2)}</span
                        ></label
                      >
                      <label
                        ><input
                          type="checkbox"
                          name="log"
                          .checked=${this.log}
                          @change=${(event: Event) => {
                            this.log = (event.target as HTMLInputElement).checked;
                          }}
                        />Log axis</label
                      >`
                  : nothing
              }
              ${this.zoom ? html`<button @click=${() => this.#showAll()}>Show all steps</button>` : nothing}
            </div>`
          : nothing
      }`;
  }

  /** The button that asked for it goes; what it spoke of has the focus then. */
  #showAll(): void {
    this.zoom = undefined;
    this.renderRoot.querySelector<HTMLElement>('.plot')?.focus();
  }

  #value(value: number | undefined): string {
    return value === undefined ? '' : figure(value, this.digits);
  }

  #whole(): readonly [number, number] {
    const ends = this.curves.flatMap(({ series: { x } }) => (x.length ? [x[0]!, x.at(-1)!] : []));
    return ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 0];
  }

  #onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const whole = this.#whole();
    const { x } = this.curves.find(({ series }) => series.x.length)?.series ?? { x: [] };
    if (!x.length) return;
    const [low, high] = this.zoom ?? whole;
    const now = this.at ?? high;
    const move = (by: number): number => x[Math.min(x.length - 1, Math.max(0, indexAt({ x, y: [] }, now) + by))]!;
    const pages = event.shiftKey ? 10 : 1;
    const steps: Readonly<Record<string, () => number>> = {
      ArrowRight: () => move(pages),
      ArrowLeft: () => move(-pages),
      PageUp: () => move(10),
      PageDown: () => move(-10),
      Home: () => low,
      End: () => high,
    };
    if (event.key in steps) this.#point(steps[event.key]!());
    else if (event.key === '+' || event.key === '=') this.zoom = zoomed([low, high], 0.5, now, whole);
    else if (event.key === '-') this.zoom = zoomed([low, high], 2, now, whole);
    else if (event.key === 'Escape' && this.zoom) this.zoom = undefined;
    else return;
    event.preventDefault();
    if (this.at !== undefined && this.zoom && (this.at < this.zoom[0] || this.at > this.zoom[1]))
      this.zoom = [this.at - (high - low) / 2, this.at + (high - low) / 2];
  }

  /** Shows the values of a step, and marks it in the plot until a pointer moves over it. */
  #point(at: number | undefined): void {
    this.at = this.#pinned = at;
    this.#plot?.setCursor(
      { left: at === undefined ? -10 : this.#plot.valToPos(at, 'x'), top: at === undefined ? -10 : 1 },
      false,
    );
  }

  #paint(): void {
    const box = this.renderRoot.querySelector<HTMLElement>('.plot');
    if (!box || box.clientWidth === 0) return;
    const made = JSON.stringify([
      this.log,
      this.smoothing > 0,
      this.curves.map(({ name, colour: stroke, sparse, other }) => [name, stroke, sparse, other]),
    ]);
    if (made !== this.#made) {
      this.#plot?.destroy();
      this.#plot = undefined;
      this.#made = made;
    }
    this.#plot ??= new uPlot(this.#options(box), [[], ...this.#lines().map(() => [])] as uPlot.AlignedData, box);
    if (this.#plot.width !== box.clientWidth || this.#plot.height !== box.clientHeight)
      this.#plot.setSize({ width: box.clientWidth, height: box.clientHeight });
    const tables = this.#lines().map(
      ({ x, y }) => [x.slice(), this.log ? positive(y) : y.slice()] as uPlot.AlignedData,
    );
    this.#plot.setData(tables.length > 1 ? uPlot.join(tables) : (tables[0] ?? [[]]), this.zoom === undefined);
    if (this.zoom) this.#plot.setScale('x', { min: this.zoom[0], max: this.zoom[1] });
    if (this.#pinned !== undefined) this.#point(this.#pinned);
    this.setAttribute('points', String(this.curves[0]?.series.x.length ?? 0));
  }

  /** What is drawn: each curve, and behind a smoothed one its values as they are. */
  #lines(): readonly Line[] {
    return this.curves.flatMap((curve): readonly Line[] => {
      const { x, y } = curve.series;
      if (this.smoothing === 0 || curve.sparse) return [{ curve, faint: false, x, y }];
      return [
        { curve, faint: true, x, y },
        { curve, faint: false, x, y: smoothed(y, this.smoothing) },
      ];
    });
  }

  #options(box: HTMLElement): uPlot.Options {
    const axis = {
      stroke: () => colour(this, '--soft'),
      grid: { stroke: () => colour(this, '--edge'), width: 1 },
      ticks: { show: false },
      font: '12px system-ui, sans-serif',
    };
    return {
      width: box.clientWidth,
      height: box.clientHeight,
      legend: { show: false },
      padding: [10, 8, 0, 0],
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false },
        bind: {
          mousemove: (_plot, _target, handler) => (event) => {
            this.#pinned = undefined;
            handler(event);
            return null;
          },
          dblclick: () => () => {
            this.zoom = undefined;
            return null;
          },
        },
      },
      hooks: {
        setCursor: [
          ({ cursor: { idx }, data }) => {
            // Also called when steps come: then a pixel may stand for several of them.
            if (this.#pinned !== undefined) return;
            this.at = idx === null || idx === undefined ? undefined : data[0][idx];
          },
        ],
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            if (width < 2) return;
            this.zoom = [plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')];
            plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          },
        ],
      },
      scales: { x: { time: false }, y: { distr: this.log ? LOGARITHMIC : LINEAR } },
      // Steps are whole numbers.
      axes: [
        { ...axis, size: 28, incrs: STEP_INCREMENTS },
        {
          ...axis,
          size: 58,
          values: (_, ticks, __, ___, step) =>
            ticks.map((tick) => (tick === null || tick === undefined ? '' : tickLabel(tick, step))),
        },
      ],
      series: [
        {},
        ...this.#lines().map(({ curve: { name, colour: stroke, sparse, other }, faint }): uPlot.Series => ({
          label: name,
          stroke: () => colour(this, stroke),
          width: other ? 1.25 : faint ? 1 : 2,
          alpha: faint ? 0.3 : 1,
          spanGaps: true,
          points: sparse ? { show: true, size: 6, fill: () => colour(this, stroke) } : { show: false },
        })),
      ],
    };
  }
}

customElements.define('line-chart', LineChart);
