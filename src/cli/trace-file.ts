// Spans of all ranks as Chrome trace JSON (https://ui.perfetto.dev opens it): one process per rank, one thread per kind
// of work. Each rank's clock has an origin of its own, so a rank's first step starts at 0 and steps are aligned by
// their number only.

import type { StepMetrics } from '../train/trainer.ts';

const KINDS = ['compute', 'wait', 'wire', 'optimizer'] as const;

export class TraceFile {
  readonly #events: object[] = [];
  readonly #origins = new Map<number, number>();

  add(rank: number, { step, loss, spans }: StepMetrics): void {
    if (!spans.length) return;
    const first = Math.min(...spans.map(({ startMs }) => startMs));
    const origin = this.#origins.get(rank) ?? first;
    if (!this.#origins.has(rank)) {
      this.#origins.set(rank, origin);
      this.#events.push({ ph: 'M', name: 'process_name', pid: rank, args: { name: `rank ${rank}` } });
      KINDS.forEach((kind, tid) =>
        this.#events.push({ ph: 'M', name: 'thread_name', pid: rank, tid, args: { name: kind } }),
      );
    }
    for (const { kind, name, startMs, endMs } of spans) {
      this.#events.push({
        ph: 'X',
        name,
        cat: kind,
        pid: rank,
        tid: KINDS.indexOf(kind),
        ts: (startMs - origin) * 1000,
        dur: (endMs - startMs) * 1000,
        args: { step },
      });
    }
    this.#events.push({ ph: 'C', name: 'loss', pid: rank, ts: (first - origin) * 1000, args: { loss } });
  }

  toString(): string {
    return JSON.stringify({ displayTimeUnit: 'ms', traceEvents: this.#events });
  }
}
