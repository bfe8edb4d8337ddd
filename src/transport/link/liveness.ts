// Whether the peer lives and works: heartbeats with their round trip, silence, and receives that are overdue. A tab
// that was itself frozen or busy excuses the peer for that time.

import type { World } from '../../base/world.ts';
import { encodeHeartbeat } from '../control.ts';
import type { Heartbeat } from '../control.ts';
import { describe } from '../inbox.ts';
import type { Inbox } from '../inbox.ts';
import type { LinkSettings } from './options.ts';

export type LivenessSettings = Pick<
  LinkSettings,
  'peer' | 'world' | 'silentMs' | 'heartbeatMs' | 'deadlineMs' | 'waitsFor' | 'blame' | 'worldSize'
>;

export interface LivenessEvents {
  /** `culprit` is at fault, as far as the peer's heartbeats tell. */
  fault(evidence: 'corrupt' | 'silent' | 'slow', detail: string, culprit: number): void;
  sendHeartbeat(payload: Uint8Array<ArrayBuffer>): void;
}

export class Liveness {
  /** Of the last heartbeat: round trip in ms (NaN before), and the rank that the peer waits for. */
  readonly #told: { roundTripMs: number; peerWaitsFor: number | undefined };
  readonly #settings: LivenessSettings;
  readonly #world: World;
  readonly #inbox: Pick<Inbox, 'oldest' | 'excuse'>;
  readonly #events: LivenessEvents;
  #silentMs: number;
  #lastHeard: number;
  #nextTick: number;
  #cancelTick: () => void = () => undefined;
  #echo = { sentAt: NaN, at: NaN };

  /** Writes to `told` what heartbeats tell. */
  constructor(
    settings: LivenessSettings,
    told: { roundTripMs: number; peerWaitsFor: number | undefined },
    inbox: Pick<Inbox, 'oldest' | 'excuse'>,
    events: LivenessEvents,
  ) {
    this.#settings = settings;
    this.#world = settings.world;
    this.#silentMs = settings.silentMs;
    this.#told = told;
    this.#inbox = inbox;
    this.#events = events;
    this.#lastHeard = this.#world.now();
    this.#nextTick = this.#lastHeard;
  }

  start(): void {
    this.#arm();
  }

  stop(): void {
    this.#cancelTick();
  }

  /** A frame of this view came. */
  heard(nowMs: number): void {
    this.#lastHeard = nowMs;
  }

  allowSilence(silentMs: number): void {
    this.#silentMs = silentMs;
    // What was borne before is not held against the peer now.
    this.#lastHeard = this.#world.now();
  }

  beat(): void {
    const now = this.#world.now();
    this.#events.sendHeartbeat(
      encodeHeartbeat({
        sentAt: now,
        echo: this.#echo.sentAt,
        heldMs: now - this.#echo.at,
        waitsFor: this.#settings.waitsFor(),
      }),
    );
  }

  heartbeat({ sentAt, echo, heldMs, waitsFor }: Heartbeat): void {
    const { peer, worldSize } = this.#settings;
    if (waitsFor !== undefined && waitsFor >= worldSize) {
      this.#events.fault('corrupt', `it waits for rank ${waitsFor}, of ${worldSize} ranks`, peer);
      return;
    }
    this.#told.peerWaitsFor = waitsFor;
    const now = this.#world.now();
    const roundTripMs = now - echo - heldMs;
    if (roundTripMs >= 0 && roundTripMs < Infinity) this.#told.roundTripMs = roundTripMs;
    this.#echo = { sentAt, at: now };
  }

  #arm(): void {
    this.#nextTick += this.#settings.heartbeatMs;
    this.#cancelTick = this.#world.timer(Math.max(0, this.#nextTick - this.#world.now()), () => this.#tick());
  }

  #tick(): void {
    const { heartbeatMs } = this.#settings;
    const now = this.#world.now();
    const lateMs = now - this.#nextTick;
    if (lateMs > 2 * heartbeatMs) {
      // This tab itself was frozen or busy: what the peer sent meanwhile is still in our queues, so give it two
      // heartbeats to show.
      this.#lastHeard = Math.max(this.#lastHeard, now - this.#silentMs + 2 * heartbeatMs);
      this.#inbox.excuse(lateMs + 2 * heartbeatMs);
      this.#nextTick = now;
    }
    if (this.#isSilent(now) || this.#isOverdue(now)) return;
    this.beat();
    this.#arm();
  }

  #isSilent(now: number): boolean {
    const quietMs = now - this.#lastHeard;
    if (quietMs <= this.#silentMs) return false;
    this.#events.fault(
      'silent',
      `nothing came from it for ${Math.round(quietMs)} ms, more than ${this.#silentMs} ms`,
      this.#settings.peer,
    );
    return true;
  }

  #isOverdue(now: number): boolean {
    const { peer, deadlineMs, blame } = this.#settings;
    const oldest = deadlineMs < Infinity ? this.#inbox.oldest() : undefined;
    if (!oldest || now - oldest.since <= deadlineMs) return false;
    const culprit = blame(peer);
    const sender = culprit === peer ? 'it' : `rank ${peer}, which waits in turn,`;
    this.#events.fault(
      'slow',
      `${describe(oldest.tag)}: ${sender} did not send ${oldest.signature} within ${deadlineMs} ms (last heard ${Math.round(now - this.#lastHeard)} ms ago)`,
      culprit,
    );
    return true;
  }
}
