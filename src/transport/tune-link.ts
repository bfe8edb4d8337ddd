// The link tuner: real frames over the bulk lane, once, before its first data, find frame size and window for each
// direction of one pair and the MB/s that they give. Order: the lower rank probes, says `tuned`, then the higher one
// probes and says `tuned`; data waits until both are done or the time is up (control and latency lanes do not wait).
// Time: half of what both ends allow, for each direction. A burst counts when the receiver says that its last byte
// came. After the first burst it is known how many candidates can be measured ROUNDS times; none, on a link of 20 MB/s
// with 300 ms. A challenger must beat the default clearly in every round: one lucky burst changes nothing. Bounds: at
// most MAX_BURSTS bursts and MAX_PROBE_BYTES from a peer, nothing of them is kept. Measured between two Chromium tabs
// (2 cores, SCTP in one machine): 2 or 4 channels and 2 connections carry what one channel carries, so there is one
// bulk wire.

import type { World } from '../base/world.ts';
import { LOW_WATER_BYTES } from './base-wire.ts';
import { writeProbe } from './control.ts';
import type { Tuned } from './control.ts';
import { FRAME_BYTES, HEADER_BYTES, MAX_FRAME_BYTES } from './frame.ts';

/** What the tuner chooses: bytes of a frame, and most bytes handed to the wire and not yet sent. */
export interface Framing {
  readonly frameBytes: number;
  readonly windowBytes: number;
}

const KIB = 1024;
export const DEFAULT_FRAMING: Framing = { frameBytes: FRAME_BYTES, windowBytes: 256 * KIB };
/** The most promising first: a short time drops the last ones. */
export const CHALLENGERS: readonly Framing[] = [
  { frameBytes: MAX_FRAME_BYTES, windowBytes: 512 * KIB },
  { frameBytes: 64 * KIB, windowBytes: 512 * KIB },
  { frameBytes: 16 * KIB, windowBytes: 128 * KIB },
];
export const ROUNDS = 3;
/** A challenger's rate must be that much higher than the default's of the same round. */
export const CLEARLY = 1.15;
/** Four of the largest windows: what a deep queue costs must show. */
export const BURST_BYTES = 2048 * KIB;
const WARM_UP_BYTES = 256 * KIB;
export const MAX_BURSTS = 1 + ROUNDS * (1 + CHALLENGERS.length);
/** With the heads of last frames that are shorter than a head. */
export const MAX_PROBE_BYTES = WARM_UP_BYTES + (MAX_BURSTS - 1) * BURST_BYTES + 8 * MAX_BURSTS;

/**
 * The smallest window that a wire with LOW_WATER_BYTES can drain: with a smaller one a blocked frame may wait for an
 * event that has already been.
 */
export function minimumWindow(frameBytes: number): number {
  return LOW_WATER_BYTES + frameBytes;
}

/**
 * Index of the candidate to use. `rounds[r][i]` is the rate of candidate i in round r, 0 being the default: the best of
 * those that beat it clearly in every round.
 */
export function chooseCandidate(rounds: readonly (readonly number[])[]): number {
  const gains = (rounds[0] ?? []).map((_, i) => Math.min(...rounds.map((rates) => rates[i]! / rates[0]!)));
  return gains.reduce((best, gain, i) => (gain >= CLEARLY && gain > gains[best]! ? i : best), 0);
}

/**
 * How many challengers can be measured ROUNDS times beside the default, when a burst of the default takes `burstMs` and
 * the first of them is done.
 */
export function affordable(leftMs: number, burstMs: number): number {
  const bursts = Math.floor(leftMs / burstMs) + 1;
  return Math.max(0, Math.min(CHALLENGERS.length, Math.floor(bursts / ROUNDS) - 1));
}

export interface TunerOptions {
  readonly world: World;
  /** This end probes before the other. */
  readonly first: boolean;
  /** For both directions together. */
  readonly budgetMs: number;
  readonly framing: Framing;
  /** Bytes accepted by the bulk lane and not yet sent. */
  readonly buffered: () => number;
  /** Sends one probe frame with this payload on the bulk lane; the payload may be reused. */
  readonly probe: (payload: Uint8Array<ArrayBuffer>) => void;
  readonly tell: (tuned: Tuned) => void;
  readonly done: (result: Tuning) => void;
}

export interface Tuning {
  readonly framing: Framing;
  /** Bytes per ms, 0 when not measured: ours to the peer, and what the peer says of its own to us. */
  readonly sending: number;
  readonly receiving: number;
}

interface Burst {
  readonly id: number;
  readonly candidate: number;
  readonly framing: Framing;
  readonly startedMs: number;
  readonly bytes: number;
  left: number;
}

export class LinkTuner {
  readonly #options: TunerOptions;
  readonly #scratch = new Uint8Array(MAX_FRAME_BYTES - HEADER_BYTES);
  #candidates: readonly Framing[];
  #rounds: number[][] = [];
  #queue: number[] = [];
  #burst: Burst | undefined;
  #bursts = 0;
  #endMs = 0;
  #own: Tuned | undefined;
  #peer: Tuned | undefined;
  #over = false;
  #cancel = (): void => undefined;

  constructor(options: TunerOptions) {
    this.#options = options;
    this.#candidates = [options.framing];
  }

  start(): void {
    if (this.#options.first) this.#begin();
    else this.#wait();
  }

  /** The receiver has the last byte of a burst. False when no such burst waits for it. */
  probed(id: number): boolean {
    const burst = this.#burst;
    if (!burst || burst.id !== id || burst.left > 0) return false;
    this.#burst = undefined;
    const now = this.#options.world.now();
    const ms = Math.max(now - burst.startedMs, 1e-3);
    if (burst.candidate >= 0) this.#rounds.at(-1)![burst.candidate] = burst.bytes / ms;
    if (burst.candidate === 0 && this.#rounds.length === 1) {
      this.#candidates = [this.#options.framing, ...CHALLENGERS.slice(0, affordable(this.#endMs - now, ms))];
      this.#queue = this.#candidates.map((_, i) => i).slice(1);
    }
    this.#next();
    return true;
  }

  /** The peer has probed. False when it has said so before, or nobody waits for it. */
  tuned(tuned: Tuned): boolean {
    if (this.#over || this.#peer) return false;
    this.#peer = tuned;
    this.#cancel();
    if (this.#own) this.#finish();
    else this.#begin();
    return true;
  }

  /** The wire takes more. */
  pump(): void {
    const burst = this.#burst;
    if (!burst || this.#over) return;
    const { buffered, probe } = this.#options;
    while (burst.left > 0) {
      const payload = Math.min(burst.framing.frameBytes - HEADER_BYTES, burst.left);
      const queued = buffered();
      if (queued > 0 && queued + HEADER_BYTES + payload > burst.framing.windowBytes) return;
      burst.left -= payload;
      // A probe has a head of 8 bytes: the last one may be a little longer than what was left.
      const bytes = this.#scratch.subarray(0, Math.max(8, payload));
      writeProbe(bytes, { burst: burst.id, left: burst.left });
      probe(bytes);
    }
  }

  stop(): void {
    this.#over = true;
    this.#cancel();
    this.#burst = undefined;
  }

  #begin(): void {
    if (this.#own || this.#over) return;
    const { world, budgetMs } = this.#options;
    this.#cancel();
    this.#endMs = world.now() + budgetMs / 2;
    this.#cancel = world.timer(budgetMs / 2, () => this.#conclude());
    this.#send(-1, WARM_UP_BYTES);
  }

  /** For the other's half, and as much again for messages on their way. */
  #wait(): void {
    const { world, budgetMs } = this.#options;
    this.#cancel = world.timer(2 * budgetMs, () => this.#finish());
  }

  #next(): void {
    if (this.#queue.length === 0) {
      if (this.#rounds.length === ROUNDS || (this.#rounds.length > 0 && this.#candidates.length === 1)) {
        this.#conclude();
        return;
      }
      this.#rounds.push([]);
      this.#queue = this.#candidates.map((_, i) => i);
      // Forth and back: what comes and goes during the rounds favours nobody.
      if (this.#rounds.length % 2 === 0) this.#queue.reverse();
    }
    this.#send(this.#queue.shift()!, BURST_BYTES);
  }

  #send(candidate: number, bytes: number): void {
    const framing = this.#candidates[Math.max(0, candidate)]!;
    this.#burst = { id: this.#bursts++, candidate, framing, startedMs: this.#options.world.now(), bytes, left: bytes };
    this.pump();
  }

  /** Our direction is done, or its time is up. */
  #conclude(): void {
    if (this.#over || this.#own) return;
    this.#cancel();
    const unfinished = this.#burst;
    this.#burst = undefined;
    const complete = this.#rounds.filter((rates) => rates.filter(Number.isFinite).length === this.#candidates.length);
    const chosen = complete.length === ROUNDS ? chooseCandidate(complete) : 0;
    const rates = this.#rounds
      .map((round) => round[chosen] ?? NaN)
      .filter(Number.isFinite)
      .sort((a, b) => a - b);
    this.#own = { ...this.#candidates[chosen]!, bytesPerMs: rates[rates.length >> 1] ?? this.#partial(unfinished) };
    this.#options.tell(this.#own);
    if (this.#peer) this.#finish();
    else this.#wait();
  }

  /**
   * What a burst had moved when its time was up. The first, short one only opens SCTP's congestion window and measures
   * nothing.
   */
  #partial(burst: Burst | undefined): number {
    if (!burst || burst.candidate < 0) return 0;
    const ms = this.#options.world.now() - burst.startedMs;
    return ms > 0 ? Math.max(0, burst.bytes - burst.left - this.#options.buffered()) / ms : 0;
  }

  #finish(): void {
    if (this.#over) return;
    this.stop();
    const { frameBytes, windowBytes } = this.#own ?? this.#options.framing;
    this.#options.done({
      framing: { frameBytes, windowBytes },
      sending: this.#own?.bytesPerMs ?? 0,
      receiving: this.#peer?.bytesPerMs ?? 0,
    });
  }
}
