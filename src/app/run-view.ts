// What the page shows of one run, filled from the events of the ranks that it hosts: curves, samples, and a view of every rank. Pure; no DOM.
// A series keeps at most MAX_POINTS points: when it is full, neighbours are averaged, so a run of any length costs the same memory and drawing.

import { namelessAdapter, userAgent } from '../base/gpu-advice.ts';
import { worldSize } from '../base/axis.ts';
import type { Layout } from '../base/axis.ts';
import type { Certificate } from '../device/tune/certificate.ts';
import { coordinatesOf } from '../collectives/mesh.ts';
import type { FlightDump } from '../collectives/record/flight-recorder.ts';
import { formatTimeline, mergeTimeline } from '../collectives/record/timeline.ts';
import type { RunConfig } from '../train/run-config.ts';
import type { StepMetrics } from '../train/trainer.ts';
import type { DeviceReport, LinkReport, RankEvent } from '../../workers/protocol.ts';

const MAX_POINTS = 4096;

export class Series {
  readonly x: number[] = [];
  readonly y: number[] = [];
  /** How many values one point is the mean of. */
  #stride = 1;
  #sumX = 0;
  #sumY = 0;
  #count = 0;

  push(x: number, y: number): void {
    this.#sumX += x;
    this.#sumY += y;
    if (++this.#count < this.#stride) return;
    this.x.push(this.#sumX / this.#count);
    this.y.push(this.#sumY / this.#count);
    this.#sumX = this.#sumY = this.#count = 0;
    if (this.x.length >= MAX_POINTS) this.#halve();
  }

  get length(): number { return this.x.length; }

  get last(): number | undefined { return this.y.at(-1); }

  #halve(): void {
    const half = this.x.length >> 1;
    for (let i = 0; i < half; i++) {
      this.x[i] = (this.x[2 * i]! + this.x[2 * i + 1]!) / 2;
      this.y[i] = (this.y[2 * i]! + this.y[2 * i + 1]!) / 2;
    }
    this.x.length = this.y.length = half;
    this.#stride *= 2;
  }
}

export interface LinkView extends LinkReport { readonly bytesPerSecond: number }

export interface RankView {
  readonly rank: number;
  /** For people: 'PP(0)-DP(1)', 'alone'. */
  readonly place: string;
  /** The tab that holds it, in a room. */
  name: string;
  /** True if its worker is on this page. */
  own: boolean;
  adapter: string;
  software: boolean;
  text: string;
  /** What its device proved about itself; undefined until it did. */
  certificate: Certificate | undefined;
  memoryBytes: number;
  links: readonly LinkView[];
  metrics: StepMetrics | undefined;
}

export interface Sample { readonly step: number; readonly text: string }

export class RunView {
  readonly config: RunConfig;
  readonly ranks: readonly RankView[];
  readonly loss = new Series();
  readonly evaluation = new Series();
  readonly tokensPerSecond = new Series();
  samples: readonly Sample[] = [];
  /** What did not work beside the training. */
  notes: readonly Sample[] = [];
  /** Steps done. */
  step = 0;
  parameters = 0;
  vocab = 0;
  stopped = false;
  /** Kernels are compiled and all ranks are there. */
  ready = false;
  readonly #flights: FlightDump[] = [];
  readonly #linksAtMs = new Map<number, number>();

  constructor(config: RunConfig) {
    this.config = config;
    const size = worldSize(config.layout);
    this.ranks = Array.from({ length: size }, (_, rank) => ({
      rank, place: placeName(rank, config.layout), name: '', own: false, adapter: '', software: false, text: '', certificate: undefined, memoryBytes: 0, links: [], metrics: undefined,
    }));
  }

  opened(rank: number, report: DeviceReport): void {
    Object.assign(this.ranks[rank]!, { own: true, adapter: adapterName(report), software: report.adapter.software });
  }

  /** The first rank of this page; its steps draw the curves, which are the same on every rank. */
  get watched(): number { return this.ranks.findIndex(({ own }) => own); }

  /** What the ranks of this page did last before they failed, for people; empty before. */
  get lastOperations(): string { return this.#flights.length > 0 ? formatTimeline(mergeTimeline(this.#flights)) : ''; }

  /** Sum of the memory of all ranks whose size is known. */
  get memoryBytes(): number { return this.ranks.reduce((sum, rank) => sum + rank.memoryBytes, 0); }

  apply(rank: number, event: RankEvent, nowMs: number): void {
    const view = this.ranks[rank]!;
    switch (event.kind) {
      case 'status': view.text = event.text; return;
      case 'note': if (rank === this.watched) this.notes = [...this.notes, { step: event.step, text: event.text }].slice(-50); return;
      case 'certificate': view.certificate = event.certificate; return;
      case 'ready':
        Object.assign(view, { text: 'ready', memoryBytes: event.memoryBytes });
        this.parameters = event.parameters;
        this.vocab = event.vocab;
        this.ready = true;
        return;
      case 'step': return this.#step(view, event.metrics, event.memoryBytes);
      case 'evaluation': if (rank === this.watched) this.evaluation.push(event.step, event.loss); return;
      case 'sample': if (rank === this.watched) this.samples = [...this.samples, { step: event.step, text: event.text }].slice(-50); return;
      case 'links': return this.#links(view, event.links, nowMs);
      case 'done': view.text = event.stopped ? 'stopped' : 'done'; this.stopped = event.stopped; return;
      case 'failed':
        view.text = 'failed';
        if (event.flight) this.#flights.push(event.flight);
        return;
      case 'gradients': case 'checkpoint': case 'model': return;
    }
  }

  #step(view: RankView, metrics: StepMetrics, memoryBytes: number): void {
    Object.assign(view, { text: 'training', metrics, memoryBytes });
    if (view.rank !== this.watched) return;
    this.step = metrics.step + 1;
    if (metrics.tokens > 0) this.loss.push(this.step, metrics.loss);
    this.tokensPerSecond.push(this.step, metrics.tokens / Math.max(metrics.ms, 0.01) * 1000);
  }

  #links(view: RankView, links: readonly LinkReport[], nowMs: number): void {
    const before = this.#linksAtMs.get(view.rank);
    const elapsedMs = before === undefined ? 0 : nowMs - before;
    // Rates over less than half a second jump about.
    if (before !== undefined && elapsedMs < 500) return;
    this.#linksAtMs.set(view.rank, nowMs);
    view.links = links.map((link) => {
      const old = view.links.find(({ peer }) => peer === link.peer);
      const moved = old ? link.sent + link.received - old.sent - old.received : 0;
      return { ...link, bytesPerSecond: elapsedMs > 0 ? moved / elapsedMs * 1000 : 0 };
    });
  }
}

/** 'direct (prflx, webrtc worker)', 'same browser', 'webrtc worker' where the route is not known. */
export function linkWay({ route, path, kind }: LinkReport): string {
  if (route === 'unknown') return kind;
  const detail = [...new Set([path, kind])].filter((word) => word !== route);
  return detail.length ? `${route} (${detail.join(', ')})` : route;
}

/** What the link can do, for who points at its rate. */
export function linkFigures({ sending, receiving, frameBytes, windowBytes }: LinkReport): string {
  const part = (mbs: number, how: string): string[] => (Number.isFinite(mbs) ? [`${mbs.toFixed(1)} MB/s ${how}`] : []);
  const rate = ({ probed, observed }: LinkReport['sending']): string => [...part(probed, 'probed'), ...part(observed, 'while busy')].join(', ') || 'not known yet';
  return `sending: ${rate(sending)}; receiving: ${rate(receiving)}; frames of ${frameBytes / 1024} KiB, window ${windowBytes / 1024} KiB`;
}

export function placeName(rank: number, layout: Layout): string {
  const at = coordinatesOf(rank, layout);
  const parts = (['pp', 'dp', 'sp', 'ep', 'tp'] as const).filter((axis) => layout[axis] > 1).map((axis) => `${axis.toUpperCase()}(${at[axis]})`);
  return parts.join('-') || 'alone';
}

export function adapterName({ adapter, kind }: DeviceReport): string {
  if (kind === 'cpu') return adapter.description;
  return adapter.description || [adapter.vendor, adapter.architecture].filter(Boolean).join(' / ') || namelessAdapter(userAgent());
}
