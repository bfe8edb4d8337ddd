// <bandwidth-chart>: bus bandwidth over the size of the array, on a logarithmic axis of sizes, one curve per collective
// and one for the bare channel.

import { css, html, LitElement, unsafeCSS } from 'lit';
import uPlot from 'uplot';
import uPlotStyle from 'uplot/dist/uPlot.min.css?inline';
import { sizeName } from '../../../bench/collectives/sizes.ts';
import { colour, Repaint } from '../../shared/elements/repaint.ts';
import { shapes } from '../../shared/elements/theme.ts';

export interface BandwidthCurve {
  readonly name: string;
  /** Bytes above 0, ascending. */ readonly sizes: readonly number[];
  /** MB/s. */ readonly rates: readonly number[];
  readonly reference?: boolean;
}

export class BandwidthChart extends LitElement {
  static override properties = { curves: { attribute: false } };
  static override styles = [
    shapes,
    unsafeCSS(uPlotStyle),
    css`
      .plot {
        height: var(--chart-height, 300px);
        min-width: 0;
        overflow: hidden;
      }
      .keys {
        display: flex;
        gap: 4px 14px;
        flex-wrap: wrap;
        font-size: 13px;
        color: var(--soft);
      }
      .keys span {
        display: inline-flex;
        gap: 6px;
        align-items: center;
      }
      .keys i {
        width: 16px;
        border-top: 3px solid;
        display: inline-block;
      }
      .keys i.reference {
        border-top-style: dashed;
      }
    `,
  ];
  declare curves: readonly BandwidthCurve[];
  readonly #repaint = new Repaint(this, () => this.#paint());
  #plot: uPlot | undefined;
  #names = '';

  constructor() {
    super();
    this.curves = [];
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#forget();
  }

  override updated(): void {
    this.#repaint.request();
  }

  override render() {
    const last = (curve: BandwidthCurve): string => `${curve.name} ${curve.rates.at(-1)?.toFixed(0) ?? '-'} MB/s`;
    return html` <h2>Bus bandwidth in MB/s over the size of the array</h2>
      <div
        class="plot"
        role="img"
        aria-label=${`Bus bandwidth at the largest size: ${this.curves.map(last).join(', ')}`}
      ></div>
      <div class="keys">
        ${this.curves.map((curve, i) => html`<span><i class=${curve.reference ? 'reference' : ''} .style=${`border-color:${strokeOf(this, curve, i)}`}></i>${curve.name}</span>`)}
      </div>`;
  }

  #forget(): void {
    this.#plot?.destroy();
    this.#plot = undefined;
  }

  #paint(): void {
    const box = this.renderRoot.querySelector<HTMLElement>('.plot');
    if (!box || box.clientWidth === 0 || this.curves.length === 0) return;
    const names = this.curves.map(({ name }) => name).join();
    if (names !== this.#names) {
      this.#forget();
      this.#names = names;
    }
    this.#plot ??= new uPlot(this.#options(box), [[], ...this.curves.map(() => [])] as uPlot.AlignedData, box);
    if (this.#plot.width !== box.clientWidth) this.#plot.setSize({ width: box.clientWidth, height: box.clientHeight });
    this.#plot.setData(
      uPlot.join(this.curves.map(({ sizes, rates }) => [[...sizes], [...rates]] as uPlot.AlignedData)),
    );
    this.setAttribute('curves', String(this.curves.length));
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
      cursor: { y: false, drag: { x: false, y: false } },
      padding: [10, 24, 0, 0],
      scales: { x: { time: false, distr: 3, log: 2 }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      axes: [
        { ...axis, size: 28, splits: () => splitsOf(this.curves), values: (_, ticks) => sizeLabels(ticks) },
        { ...axis, size: 48 },
      ],
      series: [
        {},
        ...this.curves.map((curve, i): uPlot.Series => ({
          label: curve.name,
          stroke: () => strokeOf(this, curve, i),
          width: curve.reference ? 3 : 2,
          spanGaps: true,
          points: curve.reference ? { show: false } : { show: true, size: 6, fill: () => strokeOf(this, curve, i) },
          ...(curve.reference ? { dash: [8, 6] } : {}),
        })),
      ],
    };
  }
}

/** Measured sizes, thinned until their names fit beside each other. */
function splitsOf(curves: readonly BandwidthCurve[]): number[] {
  const sizes = [
    ...new Set(curves.flatMap((curve) => curve.sizes.map((bytes) => 2 ** Math.round(Math.log2(bytes))))),
  ].sort((a, b) => a - b);
  return sizes.filter((_, i) => i % Math.ceil(sizes.length / 8) === 0);
}

/** A logarithmic axis that is narrow has null for those that it leaves out. */
export function sizeLabels(ticks: readonly (number | null)[]): string[] {
  return ticks.map((tick) => (tick === null ? '' : sizeName(tick)));
}

/** Hues round the wheel, readable on light and dark ground; the bare channel in the colour of text. */
function strokeOf(element: Element, curve: BandwidthCurve, i: number): string {
  return curve.reference ? colour(element, '--soft') : `hsl(${(i * 47 + 215) % 360} 62% 50%)`;
}

customElements.define('bandwidth-chart', BandwidthChart);
