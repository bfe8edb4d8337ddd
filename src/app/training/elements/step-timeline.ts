// <step-timeline>: what each rank did in its last step, drawn as bars: compute, wait and optimizer above, bytes on the
// wire below (they overlap compute). Workers have clocks of their own, so each rank's bars start at its first span; the
// ranks begin a step together up to one message.

import { css, html, LitElement } from 'lit';
import type { Span } from '../../../train/step/step-engine.ts';
import type { RankView } from '../run-view.ts';
import { colour, Repaint } from '../../shared/elements/repaint.ts';
import { shapes } from '../../shared/elements/theme.ts';

const ROW = 34;
const LEFT = 112;
const KINDS = ['compute', 'wait', 'optimizer', 'wire'] as const;

export class StepTimeline extends LitElement {
  static override properties = { ranks: { attribute: false }, version: { attribute: false } };
  static override styles = [
    shapes,
    css`
      .key {
        display: inline-flex;
        gap: 6px;
        align-items: center;
        font-size: 13px;
        color: var(--soft);
      }
      .key i {
        width: 12px;
        height: 12px;
        border-radius: 3px;
        display: inline-block;
      }
      .keys {
        display: flex;
        gap: 14px;
        flex-wrap: wrap;
      }
      canvas {
        display: block;
        width: 100%;
        margin-top: 10px;
      }
    `,
  ];
  declare ranks: readonly RankView[];
  declare version: unknown;
  readonly #repaint = new Repaint(this, () => this.#paint());

  constructor() {
    super();
    this.ranks = [];
  }

  override updated(): void {
    this.#repaint.request();
  }

  override render() {
    const shown = this.#shown();
    const step = shown[0]?.metrics?.step;
    const summary = shown
      .map((rank) => `rank ${rank.rank} computes ${percent(busy(rank.metrics!.spans))} of the step`)
      .join(', ');
    return html` <div class="row spread">
        <h2>Last step${step === undefined ? '' : ` (${step + 1}), ${shown[0]!.metrics!.ms.toFixed(0)} ms`}</h2>
        <div class="keys">
          ${KINDS.map((kind) => html`<span class="key"><i .style=${`background:var(--${kind})`}></i>${kind}</span>`)}
        </div>
      </div>
      ${shown.length ? html`<canvas role="img" aria-label=${summary} .style=${`height:${shown.length * ROW}px`}></canvas>` : html`<p class="soft small" .style=${'margin-top:6px'}>the bars begin with the first step</p>`}`;
  }

  #shown(): readonly RankView[] {
    return this.ranks.filter(({ metrics }) => metrics !== undefined);
  }

  #paint(): void {
    const canvas = this.renderRoot.querySelector('canvas');
    const shown = this.#shown();
    if (!canvas || canvas.clientWidth === 0) return;
    const scale = devicePixelRatio;
    const [width, height] = [canvas.clientWidth, shown.length * ROW];
    canvas.width = width * scale;
    canvas.height = height * scale;
    const draw = canvas.getContext('2d')!;
    draw.scale(scale, scale);
    draw.font = '12px system-ui, sans-serif';
    draw.textBaseline = 'middle';
    const right = 44;
    const extentMs = Math.max(1, ...shown.map(({ metrics }) => spanEnd(metrics!.spans)));
    const perMs = (width - LEFT - right) / extentMs;
    shown.forEach(({ rank, place, metrics }, row) => {
      const y = row * ROW;
      const { spans } = metrics!;
      const zero = spanStart(spans);
      draw.fillStyle = colour(this, '--soft');
      draw.fillText(`${rank}  ${place}`, 0, y + ROW / 2, LEFT - 8);
      draw.fillText(percent(busy(spans)), width - right + 8, y + ROW / 2);
      draw.fillStyle = colour(this, '--sunken');
      draw.fillRect(LEFT, y + 4, width - LEFT - right, ROW - 10);
      // Waits first: what a rank computes meanwhile must stay visible.
      for (const kind of ['wait', 'optimizer', 'compute', 'wire'] as const) {
        draw.fillStyle = colour(this, `--${kind}`);
        for (const span of spans) {
          if (span.kind !== kind) continue;
          const [top, tall] = kind === 'wire' ? [y + ROW - 12, 5] : [y + 5, 16];
          draw.fillRect(
            LEFT + (span.startMs - zero) * perMs,
            top,
            Math.max(1, (span.endMs - span.startMs) * perMs - 0.5),
            tall,
          );
        }
      }
    });
  }
}

function spanStart(spans: readonly Span[]): number {
  return Math.min(...spans.map(({ startMs }) => startMs));
}
function spanEnd(spans: readonly Span[]): number {
  return spans.length ? Math.max(...spans.map(({ endMs }) => endMs)) - spanStart(spans) : 0;
}

/** The share of the step in which the rank computes or updates. */
export function busy(spans: readonly Span[]): number {
  const worked = spans
    .filter(({ kind }) => kind === 'compute' || kind === 'optimizer')
    .reduce((sum, { startMs, endMs }) => sum + endMs - startMs, 0);
  const total = spanEnd(spans);
  return total > 0 ? Math.min(1, worked / total) : 0;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

customElements.define('step-timeline', StepTimeline);
