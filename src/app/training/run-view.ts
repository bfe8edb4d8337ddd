// What the page shows of one run, filled from the events of the ranks that it hosts: curves, samples, and a view of
// every rank. Pure; no DOM. A series keeps at most MAX_POINTS points: when it is full, neighbours are averaged, so a
// run of any length costs the same memory and drawing.

import { namelessAdapter, userAgent } from '../../base/gpu-advice.ts';
import { worldSize } from '../../base/axis.ts';
import type { Layout } from '../../base/axis.ts';
import type { Certificate } from '../../device/tune/certificate.ts';
import { coordinatesOf } from '../../collectives/mesh.ts';
import type { FlightDump } from '../../collectives/record/flight-recorder.ts';
import { formatTimeline, mergeTimeline } from '../../collectives/record/timeline.ts';
import type { RunConfig } from '../../train/run-config.ts';
import type { StepMetrics } from '../../train/trainer.ts';
import type { DeviceReport, LinkReport, RankEvent } from '../../../workers/protocol.ts';

const MAX_POINTS = 4096;
/** Steps whose pace tells how long the rest will take. */
const PACE_STEPS = 20;

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

  get length(): number {
    return this.x.length;
  }

  get last(): number | undefined {
    return this.y.at(-1);
  }

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

export interface LinkView extends LinkReport {
  readonly bytesPerSecond: number;
}

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
  /** What its plans will allocate, where it is in another tab; 0: not counted yet. */
  expectedBytes: number;
  links: readonly LinkView[];
  metrics: StepMetrics | undefined;
}

/** The curves of a run that are kept, by their field of RunView. */
export const CURVE_NAMES = ['loss', 'evaluation', 'accuracy', 'tokensPerSecond', 'gradNorm', 'learningRate'] as const;
export type CurveName = (typeof CURVE_NAMES)[number];

interface Points {
  readonly x: readonly number[];
  readonly y: readonly number[];
}

/** What is kept of a run for one that goes on from it. */
export interface RunPast {
  /** Only evaluations of tasks have an accuracy. */
  readonly curves: Readonly<Record<Exclude<CurveName, 'accuracy'>, Points>> & { readonly accuracy?: Points };
  readonly samples: readonly Sample[];
  /** Steps done, and the tokens of all of them. */
  readonly step: number;
  readonly tokens: number;
  readonly elapsedMs: number;
}

export interface Sample {
  readonly step: number;
  readonly text: string;
  /** What somebody wrote, of which the text is the continuation. */
  readonly prompt?: string;
}

export class RunView {
  readonly config: RunConfig;
  readonly ranks: readonly RankView[];
  readonly loss = new Series();
  readonly evaluation = new Series();
  /** At the evaluations of a task, 0 to 1. */
  readonly accuracy = new Series();
  readonly tokensPerSecond = new Series();
  readonly gradNorm = new Series();
  readonly learningRate = new Series();
  /** Targets that counted, in all steps. */
  tokens = 0;
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
  /** The run goes on from this step with the curves of an earlier one. */
  from = 0;
  #elapsedMs = 0;
  #runningSinceMs: number | undefined;
  #lastStepAtMs: number | undefined;
  readonly #paceMs: number[] = [];
  readonly #flights: FlightDump[] = [];
  readonly #linksAtMs = new Map<number, number>();

  constructor(config: RunConfig) {
    this.config = config;
    const size = worldSize(config.layout);
    this.ranks = Array.from({ length: size }, (_, rank) => ({
      rank,
      place: placeName(rank, config.layout),
      name: '',
      own: false,
      adapter: '',
      software: false,
      text: '',
      certificate: undefined,
      memoryBytes: 0,
      expectedBytes: 0,
      links: [],
      metrics: undefined,
    }));
  }

  opened(rank: number, report: DeviceReport): void {
    Object.assign(this.ranks[rank]!, { own: true, adapter: adapterName(report), software: report.adapter.software });
  }

  /** Takes over what was shown of the same run up to `step`, from which it goes on. */
  goOn(before: RunView, step: number): void {
    const { samples, tokens } = before;
    this.recall({ curves: before, samples, step: before.step, tokens, elapsedMs: before.#elapsedMs }, step);
    this.notes = before.notes.filter((note) => note.step <= step);
    this.parameters = before.parameters;
    this.vocab = before.vocab;
  }

  /** The first rank of this page; its steps draw the curves, which are the same on every rank. */
  get watched(): number {
    return this.ranks.findIndex(({ own }) => own);
  }

  /** What the ranks of this page did last before they failed, for people; empty before. */
  get lastOperations(): string {
    return this.#flights.length > 0 ? formatTimeline(mergeTimeline(this.#flights)) : '';
  }

  /** Bytes of the ranks whose memory is known: as allocated, or as it was counted for other tabs. */
  get memory(): { readonly bytes: number; readonly ranks: number; readonly counted: boolean } {
    const known = this.ranks.filter(({ memoryBytes, expectedBytes }) => memoryBytes || expectedBytes);
    return {
      bytes: known.reduce((sum, { memoryBytes, expectedBytes }) => sum + (memoryBytes || expectedBytes), 0),
      ranks: known.length,
      counted: known.some(({ memoryBytes }) => !memoryBytes),
    };
  }

  /** Whether it trains now, or is paused or over: pauses are no part of its time. */
  running(is: boolean, nowMs: number): void {
    if (is === (this.#runningSinceMs !== undefined)) return;
    if (this.#runningSinceMs !== undefined) this.#elapsedMs += nowMs - this.#runningSinceMs;
    this.#runningSinceMs = is ? nowMs : undefined;
    this.#lastStepAtMs = undefined;
  }

  /** ms in which it trained so far. */
  elapsedMs(nowMs: number): number {
    return this.#elapsedMs + (this.#runningSinceMs === undefined ? 0 : nowMs - this.#runningSinceMs);
  }

  /** ms that the rest of the steps will take at the pace of the last ones; undefined before there is one. */
  get remainingMs(): number | undefined {
    if (this.#paceMs.length === 0) return undefined;
    return (
      (Math.max(0, this.config.steps - this.step) * this.#paceMs.reduce((sum, ms) => sum + ms, 0)) / this.#paceMs.length
    );
  }

  /** Takes over what is known of the run that it goes on from: points and samples of the steps before `step`. */
  recall(past: RunPast, step: number): void {
    for (const name of CURVE_NAMES) {
      const curve = past.curves[name];
      curve?.x.forEach((at, i) => {
        if (at <= step) this[name].push(at, curve.y[i]!);
      });
    }
    this.samples = past.samples.filter((sample) => sample.step <= step);
    // The steps after it come again. How many tokens each had is not kept; they have about as many.
    this.tokens = Math.round(past.tokens * Math.min(1, step / Math.max(1, past.step)));
    this.#elapsedMs = past.elapsedMs;
    this.step = this.from = step;
  }

  apply(rank: number, event: RankEvent, nowMs: number): void {
    const view = this.ranks[rank]!;
    switch (event.kind) {
      case 'status':
        view.text = event.text;
        return;
      case 'note':
        if (rank === this.watched) this.notes = [...this.notes, { step: event.step, text: event.text }].slice(-50);
        return;
      case 'certificate':
        view.certificate = event.certificate;
        return;
      case 'ready':
        Object.assign(view, { text: 'ready', memoryBytes: event.memoryBytes });
        this.parameters = event.parameters;
        this.vocab = event.vocab ?? 0;
        this.ready = true;
        return;
      case 'step':
        return this.#step(view, event.metrics, event.memoryBytes, nowMs);
      case 'evaluation':
        if (rank !== this.watched) return;
        this.evaluation.push(event.step, event.loss);
        if (event.accuracy !== undefined) this.accuracy.push(event.step, event.accuracy);
        return;
      case 'sample':
        if (rank === this.watched)
          this.samples = [
            ...this.samples,
            { step: event.step, text: event.text, ...(event.prompt === undefined ? {} : { prompt: event.prompt }) },
          ].slice(-50);
        return;
      case 'links':
        return this.#links(view, event.links, nowMs);
      case 'done':
        view.text = event.stopped ? 'stopped' : 'done';
        this.stopped = event.stopped;
        return;
      case 'failed':
        view.text = 'failed';
        if (event.flight) this.#flights.push(event.flight);
        return;
      case 'gradients':
      case 'checkpoint':
      case 'copy':
      case 'model':
      case 'progress':
      case 'file':
      case 'download':
        return;
    }
  }

  #step(view: RankView, metrics: StepMetrics, memoryBytes: number, nowMs: number): void {
    Object.assign(view, { text: 'training', metrics, memoryBytes });
    if (view.rank !== this.watched) return;
    this.step = metrics.step + 1;
    if (metrics.tokens > 0) this.loss.push(this.step, metrics.loss);
    this.tokensPerSecond.push(this.step, (metrics.tokens / Math.max(metrics.ms, 0.01)) * 1000);
    this.gradNorm.push(this.step, metrics.gradNorm);
    this.learningRate.push(this.step, metrics.lr);
    this.tokens += metrics.tokens;
    if (this.#lastStepAtMs !== undefined) this.#paceMs.push(nowMs - this.#lastStepAtMs);
    if (this.#paceMs.length > PACE_STEPS) this.#paceMs.shift();
    this.#lastStepAtMs = nowMs;
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
      return { ...link, bytesPerSecond: elapsedMs > 0 ? (moved / elapsedMs) * 1000 : 0 };
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
  const rate = ({ probed, observed }: LinkReport['sending']): string =>
    [...part(probed, 'probed'), ...part(observed, 'while busy')].join(', ') || 'not known yet';
  return `sending: ${rate(sending)}; receiving: ${rate(receiving)}; frames of ${frameBytes / 1024} KiB, window ${windowBytes / 1024} KiB`;
}

export function placeName(rank: number, layout: Layout): string {
  const at = coordinatesOf(rank, layout);
  const parts = (['pp', 'dp', 'sp', 'ep', 'tp'] as const)
    .filter((axis) => layout[axis] > 1)
    .map((axis) => `${axis.toUpperCase()}(${at[axis]})`);
  return parts.join('-') || 'alone';
}

export function adapterName({ adapter, kind }: DeviceReport): string {
  if (kind === 'cpu') return adapter.description;
  return (
    adapter.description ||
    [adapter.vendor, adapter.architecture].filter(Boolean).join(' / ') ||
    namelessAdapter(userAgent())
  );
}
