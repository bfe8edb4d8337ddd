// Both directions of probing a link: the tuner of this end, once both have agreed on a time, and the bounds of what the
// peer may probe.

import type { World } from '../../base/world.ts';
import { decodeProbe, decodeProbed, decodeTuned, encodeProbed, encodeTuned } from '../control.ts';
import type { FrameType } from '../frame.ts';
import type { Wire } from '../transport.ts';
import { LinkTuner, MAX_BURSTS, MAX_PROBE_BYTES } from '../tune-link.ts';
import type { Framing, Tuning } from '../tune-link.ts';

export interface ProbingEvents {
  fault(evidence: 'corrupt', detail: string): void;
  sendOn(lane: 'bulk' | 'control', type: FrameType, payload: Uint8Array<ArrayBuffer>): void;
  /** Both directions are tuned. */
  done(framing: Framing): void;
}

export class Probing {
  readonly #world: World;
  readonly #bulk: Wire;
  readonly #events: ProbingEvents;
  #tuner: LinkTuner | undefined;
  /** Bytes per ms, 0 when not measured. */
  #rates: Pick<Tuning, 'sending' | 'receiving'> = { sending: 0, receiving: 0 };
  #bytes = 0;
  #bursts = 0;

  constructor(world: World, bulk: Wire, events: ProbingEvents) {
    this.#world = world;
    this.#bulk = bulk;
    this.#events = events;
  }

  /** MB/s that the tuner measured; NaN where it did not. */
  get rates(): { readonly sending: number; readonly receiving: number } {
    const { sending, receiving } = this.#rates;
    return { sending: sending > 0 ? sending / 1000 : NaN, receiving: receiving > 0 ? receiving / 1000 : NaN };
  }

  /** Both ends allow `budgetMs`; `first` probes before the other. */
  start(budgetMs: number, first: boolean, framing: Framing): void {
    this.#tuner = new LinkTuner({
      world: this.#world,
      budgetMs,
      first,
      framing,
      buffered: () => this.#bulk.bufferedAmount,
      probe: (payload) => this.#events.sendOn('bulk', 'probe', payload),
      tell: (tuned) => this.#events.sendOn('control', 'tuned', encodeTuned(tuned)),
      done: ({ framing: best, sending, receiving }) => {
        this.#rates = { sending, receiving };
        this.#events.done(best);
      },
    });
    this.#tuner.start();
  }

  stop(): void {
    this.#tuner?.stop();
  }

  /** The bulk lane takes more. */
  pump(): void {
    this.#tuner?.pump();
  }

  /**
   * The peer probes. `mayBegin`: this end is willing and has not heard the peer yet. Lanes are not ordered among each
   * other: a probe may overtake the hello of who has heard ours, and tunes already.
   */
  probe(payload: Uint8Array<ArrayBuffer>, mayBegin: boolean): void {
    const { burst, left } = decodeProbe(payload);
    this.#bytes += payload.length;
    if (left === 0) this.#bursts++;
    const agreed = this.#tuner !== undefined || mayBegin;
    if (!agreed || this.#bytes > MAX_PROBE_BYTES || this.#bursts > MAX_BURSTS)
      this.#events.fault(
        'corrupt',
        `it probes the link with ${this.#bytes} bytes in ${this.#bursts} bursts; agreed were ${agreed ? MAX_PROBE_BYTES : 0} in ${agreed ? MAX_BURSTS : 0}`,
      );
    else if (left === 0) this.#events.sendOn('control', 'probed', encodeProbed(burst));
  }

  /** The peer has a burst of ours. False when nobody waits for it. */
  probed(payload: Uint8Array<ArrayBuffer>): boolean {
    return this.#tuner?.probed(decodeProbed(payload)) ?? false;
  }

  /** The peer has probed. False when nobody waits for that. */
  tuned(payload: Uint8Array<ArrayBuffer>): boolean {
    return this.#tuner?.tuned(decodeTuned(payload)) ?? false;
  }
}
