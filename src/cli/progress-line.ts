// The progress of a run on stderr: a bar that redraws itself in a terminal, a plain line every few steps elsewhere.

import { formatBytes } from '../base/format-bytes.ts';
import { plainLines } from '../base/plain-text.ts';
import type { CommandIo } from './command.ts';

export interface ProgressStep {
  readonly step: number;
  readonly loss: number;
  readonly tokens: number;
  readonly ms: number;
  readonly bytes: number;
}

const PLAIN_LINES = 20;
/** Notes may tell what other people's tabs or a model say. */
const MAX_NOTE = 20_000;
const COUNT = /\d+ of \d+/g;

export class ProgressLine {
  readonly #steps: number;
  readonly #io: CommandIo;
  readonly #counted: 'tokens' | 'rows';
  #bytes = 0;
  #recentMs: number[] = [];
  #drawn = false;
  /** The last status without its count. */
  #said = '';

  /** `counted`: what the loss is a mean over. */
  constructor(steps: number, io: CommandIo, counted: 'tokens' | 'rows' = 'tokens') {
    this.#steps = steps;
    this.#io = io;
    this.#counted = counted;
  }

  note(text: string): void {
    this.#clear();
    this.#said = '';
    this.#io.err(plainLines(text, MAX_NOTE));
  }

  /** What a rank is at now. One that only counts on is drawn over in a terminal, and said once elsewhere. */
  status(text: string): void {
    const shown = plainLines(text, MAX_NOTE);
    const kind = shown.replace(COUNT, '');
    if (kind === shown) return this.note(shown);
    if (this.#io.redraw) {
      this.#io.redraw(shown);
      this.#drawn = true;
    } else if (kind !== this.#said) this.#io.err(shown);
    this.#said = kind;
  }

  step({ step, loss, tokens, ms, bytes }: ProgressStep): void {
    this.#bytes += bytes;
    this.#recentMs = [...this.#recentMs.slice(-9), ms];
    const done = step + 1;
    const perStep = this.#recentMs.reduce((a, b) => a + b, 0) / this.#recentMs.length;
    const text = `step ${done}/${this.#steps}  loss ${loss.toFixed(4)}  ${formatCount((tokens * 1000) / ms)} ${this.#counted}/s  ${formatBytes(this.#bytes)} sent  ${formatTime(((this.#steps - done) * perStep) / 1000)} left`;
    if (!this.#io.redraw) {
      if (done === this.#steps || done === 1 || done % Math.max(1, Math.floor(this.#steps / PLAIN_LINES)) === 0)
        this.#io.err(text);
      return;
    }
    const width = Math.max(5, Math.min(30, this.#io.columns - text.length - 4));
    const filled = Math.round((done / this.#steps) * width);
    this.#io.redraw(`[${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${text}`);
    this.#drawn = true;
  }

  end(): void {
    this.#clear();
  }

  #clear(): void {
    if (this.#drawn) this.#io.err('');
    this.#drawn = false;
  }
}

function formatCount(n: number): string {
  return n >= 1e4 ? `${(n / 1000).toFixed(1)}k` : n.toFixed(0);
}

function formatTime(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s >= 3600) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return s >= 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s} s`;
}
