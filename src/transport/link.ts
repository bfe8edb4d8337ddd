// A Link over any pair of wires: hello, tagged messages, heartbeats, and failures that name their culprit. The same code serves every transport.
// Start: both say hello (version, ranks); nothing but hello and heartbeats leaves before the peer's hello came, so a late peer loses nothing.
// End: closed wire, silence, broken rule or abort fails everything in flight at once; an abort is told on both lanes, so that it precedes either close.
// A leave counts when it comes on the bulk lane, behind the data that was sent before it.

import { ConfigError, FormatError, PeerError } from '../base/errors.ts';
import type { Evidence } from '../base/errors.ts';
import type { DType, TypedArray } from '../base/shape.ts';
import type { World } from '../base/world.ts';
import { LOW_WATER_BYTES } from './base-wire.ts';
import { decodeAbort, decodeCredit, decodeHeartbeat, decodeHello, encodeAbort, encodeCredit, encodeHeartbeat, encodeHello } from './control.ts';
import { MAX_FRAME_BYTES, HEADER_BYTES, PROTOCOL_VERSION, claimedVersion, decodeFrame, encodeFrame, linkFrame } from './frame.ts';
import type { Frame } from './frame.ts';
import { Inbox, describe } from './inbox.ts';
import { Outbox } from './outbox.ts';
import type { Lanes, Link, LinkStats, Tag, Wire } from './transport.ts';

export interface LinkOptions {
  readonly lanes: Lanes;
  /** World ranks of the two ends. */
  readonly peer: number;
  readonly self: number;
  /** Identity of the run and number of the membership view; frames of others are dropped. */
  readonly run: number;
  readonly view: number;
  readonly world: World;
  /** Silence after which the peer counts as dead. */
  readonly silentMs?: number;
  readonly heartbeatMs?: number;
  /** Most bytes handed to the wire and not yet sent; 256 KiB was fastest on data channels. */
  readonly windowBytes?: number;
  /** Longest wait of one receive from a peer that still gives signs of life; unlimited by default. */
  readonly deadlineMs?: number;
  /** Rank that this rank waits for over any of its links; told in heartbeats, so that a deadline names the rank that holds up the others and not a fellow victim. */
  readonly waitsFor?: () => number | undefined;
  /** From the rank whose message is overdue to the one at fault, by what heartbeats told. */
  readonly blame?: (peer: number) => number;
}

/** A peer that has not heard us says hello anew for each link that it starts; more answers than this would fill our control lane at its will. */
const MAX_HELLOS = 64;

export function createLink(options: LinkOptions): Link { return new LaneLink(options); }

class LaneLink implements Link {
  readonly peer: number;
  readonly kind: string;
  readonly failed: Promise<PeerError>;
  readonly stats = { payloadSent: 0, framingSent: 0, payloadReceived: 0, framingReceived: 0, dropped: 0, roundTripMs: NaN, peerWaitsFor: undefined } satisfies LinkStats as Mutable<LinkStats>;
  readonly #self: number;
  readonly #run: number;
  readonly #view: number;
  readonly #world: World;
  readonly #lanes: Lanes;
  readonly #silentMs: number;
  readonly #heartbeatMs: number;
  readonly #deadlineMs: number;
  readonly #waitsFor: () => number | undefined;
  readonly #blame: (peer: number) => number;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  #resolveFailed!: (error: PeerError) => void;
  #error: PeerError | undefined;
  #open = false;
  #hellos = 0;
  #leaving = false;
  /** Announces, grants and credits that wait for the peer's hello. */
  #waiting: Frame[] = [];
  #lastHeard: number;
  #nextTick: number;
  #cancelTick: () => void = () => undefined;
  #echo = { sentAt: NaN, at: NaN };

  constructor(options: LinkOptions) {
    const { lanes, peer, self, run, view, world, silentMs = 6000, heartbeatMs = 1000, windowBytes = 256 * 1024, deadlineMs = Infinity } = options;
    this.#waitsFor = options.waitsFor ?? (() => undefined);
    this.#blame = options.blame ?? ((waited) => waited);
    const minimum = LOW_WATER_BYTES + MAX_FRAME_BYTES;
    if (windowBytes < minimum) throw new ConfigError('windowBytes', `expected at least ${minimum}, got ${windowBytes}; a smaller window never drains`);
    this.peer = peer;
    this.kind = lanes.bulk.kind;
    this.#self = self;
    this.#run = run;
    this.#view = view;
    this.#world = world;
    this.#lanes = lanes;
    this.#silentMs = silentMs;
    this.#heartbeatMs = heartbeatMs;
    this.#deadlineMs = deadlineMs;
    this.failed = new Promise((resolve) => { this.#resolveFailed = resolve; });
    const fault = (evidence: Evidence, detail: string): void => this.#fail(new PeerError(peer, evidence, detail), true);
    this.#inbox = new Inbox(self, peer, {
      fault,
      grant: (tag, dtype, total) => this.#whenOpen({ ...linkFrame('grant', run, view), ...tag, dtype, total }),
      credit: (consumed) => this.#whenOpen(linkFrame('credit', run, view, encodeCredit(consumed))),
      now: () => world.now(),
    });
    this.#outbox = new Outbox(lanes.bulk, { run, view, windowBytes }, {
      fault,
      announce: (tag, dtype, total) => this.#whenOpen({ ...linkFrame('announce', run, view), ...tag, dtype, total }),
      sent: (payload, framing) => { this.stats.payloadSent += payload; this.stats.framingSent += framing; },
    });
    this.#lastHeard = world.now();
    this.#nextTick = this.#lastHeard;
    this.#listen(lanes.control, false);
    if (lanes.bulk !== lanes.control) this.#listen(lanes.bulk, true);
    lanes.bulk.onDrain = () => this.#outbox.pump();
    this.#sendHello();
    this.#arm();
  }

  send(tag: Tag, data: TypedArray): Promise<void> { return this.#outbox.send(tag, data); }

  recv(tag: Tag, out: TypedArray): Promise<void> { return this.#inbox.recv(tag, out) as Promise<unknown> as Promise<void>; }

  recvUpTo(tag: Tag, dtype: DType, maxCount: number): Promise<TypedArray> { return this.#inbox.recvUpTo(tag, dtype, maxCount); }

  abort(error: PeerError): void { this.#fail(error, true); }

  leave(): void {
    if (this.#error) return;
    for (const wire of this.#wires()) this.#transmit(wire, linkFrame('leave', this.#run, this.#view));
    this.#fail(new PeerError(this.#self, 'left', `this rank left the link to rank ${this.peer}`), false);
  }

  #wires(): Wire[] {
    const { control, bulk } = this.#lanes;
    return bulk === control ? [bulk] : [control, bulk];
  }

  #listen(wire: Wire, isBulk: boolean): void {
    const isLast = isBulk || this.#lanes.bulk === this.#lanes.control;
    wire.onMessage = (message) => this.#receive(message, isLast);
    wire.onClose = (reason) => {
      // The control lane of a leaving peer closes first; its last data may still be on the bulk lane.
      if (this.#leaving && !isLast) return;
      this.#fail(new PeerError(this.peer, 'closed', `${reason}; its tab was closed, reloaded or lost the connection`), true);
    };
  }

  #receive(message: Uint8Array<ArrayBuffer>, isLast: boolean): void {
    if (this.#error) return;
    this.#lastHeard = this.#world.now();
    try {
      const frame = decodeFrame(message);
      const payload = frame.type === 'data' ? frame.payload.length : 0;
      this.stats.payloadReceived += payload;
      this.stats.framingReceived += message.length - payload;
      if (frame.run !== this.#run || frame.view !== this.#view) this.stats.dropped++;
      else this.#dispatch(frame, isLast);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      const version = claimedVersion(message);
      if (version !== undefined && version !== PROTOCOL_VERSION) {
        this.#fail(new PeerError(this.peer, 'version', `it speaks protocol version ${version}, this tab ${PROTOCOL_VERSION}; reload both tabs`), true);
      } else this.#fail(new PeerError(this.peer, 'corrupt', error.message), true);
    }
  }

  #dispatch(frame: Frame, isLast: boolean): void {
    switch (frame.type) {
      case 'data': this.#inbox.data(frame); return;
      case 'announce': this.#inbox.announce(frame); return;
      case 'grant': this.#outbox.grant(frame); return;
      case 'credit': this.#outbox.credit(decodeCredit(frame.payload)); return;
      case 'heartbeat': this.#heartbeat(frame); return;
      case 'abort': this.#fail(decodeAbort(frame.payload, this.peer), false); return;
      case 'leave':
        this.#leaving = true;
        if (isLast) this.#fail(new PeerError(this.peer, 'left', 'it left the run'), false);
        return;
      case 'hello': this.#hello(frame); return;
      default: frame.type satisfies never;
    }
  }

  #hello(frame: Frame): void {
    const { sender, receiver, heard } = decodeHello(frame.payload);
    if (sender !== this.peer || receiver !== this.#self) {
      this.#fail(new PeerError(this.peer, 'corrupt', `it says that it is rank ${sender} and speaks to rank ${receiver}, expected ${this.peer} and ${this.#self}`), true);
      return;
    }
    if (++this.#hellos > MAX_HELLOS) {
      this.#fail(new PeerError(this.peer, 'corrupt', `it said hello more than ${MAX_HELLOS} times`), true);
      return;
    }
    const first = !this.#open;
    this.#open = true;
    // The peer may have started after our hello was lost with an older link: answer until it has heard us.
    if (!heard) this.#sendHello();
    if (!first) return;
    for (const waiting of this.#waiting) this.#transmit(this.#lanes.control, waiting);
    this.#waiting = [];
    this.#sendHeartbeat();
    this.#outbox.open();
  }

  #sendHello(): void {
    this.#transmit(this.#lanes.control, linkFrame('hello', this.#run, this.#view, encodeHello({ sender: this.#self, receiver: this.peer, heard: this.#open })));
  }

  #whenOpen(frame: Frame): void {
    if (this.#open) this.#transmit(this.#lanes.control, frame);
    else this.#waiting.push(frame);
  }

  #transmit(wire: Wire, frame: Frame): void {
    this.stats.framingSent += HEADER_BYTES + frame.payload.length;
    wire.send(encodeFrame(frame));
  }

  #sendHeartbeat(): void {
    const now = this.#world.now();
    const payload = encodeHeartbeat({ sentAt: now, echo: this.#echo.sentAt, heldMs: now - this.#echo.at, waitsFor: this.#waitsFor() });
    this.#transmit(this.#lanes.control, linkFrame('heartbeat', this.#run, this.#view, payload));
  }

  #heartbeat(frame: Frame): void {
    const { sentAt, echo, heldMs, waitsFor } = decodeHeartbeat(frame.payload);
    this.stats.peerWaitsFor = waitsFor;
    const now = this.#world.now();
    const roundTripMs = now - echo - heldMs;
    if (roundTripMs >= 0 && roundTripMs < Infinity) this.stats.roundTripMs = roundTripMs;
    this.#echo = { sentAt, at: now };
  }

  #arm(): void {
    this.#nextTick += this.#heartbeatMs;
    this.#cancelTick = this.#world.timer(Math.max(0, this.#nextTick - this.#world.now()), () => this.#tick());
  }

  #tick(): void {
    const now = this.#world.now();
    if (now - this.#nextTick > 2 * this.#heartbeatMs) {
      // This tab itself was frozen or busy: what the peer sent meanwhile is still in our queues, so give it two heartbeats to show.
      this.#lastHeard = Math.max(this.#lastHeard, now - this.#silentMs + 2 * this.#heartbeatMs);
      this.#nextTick = now;
    }
    const quietMs = now - this.#lastHeard;
    if (quietMs > this.#silentMs) {
      this.#fail(new PeerError(this.peer, 'silent', `nothing came from it for ${Math.round(quietMs)} ms, more than ${this.#silentMs} ms`), true);
      return;
    }
    const oldest = this.#deadlineMs < Infinity ? this.#inbox.oldest() : undefined;
    if (oldest && now - oldest.since > this.#deadlineMs) {
      const culprit = this.#blame(this.peer);
      const sender = culprit === this.peer ? 'it' : `rank ${this.peer}, which waits in turn,`;
      this.#fail(new PeerError(culprit, 'slow', `${describe(oldest.tag)}: ${sender} did not send ${oldest.signature} within ${this.#deadlineMs} ms (last heard ${Math.round(quietMs)} ms ago)`), true);
      return;
    }
    this.#sendHeartbeat();
    this.#arm();
  }

  /** Ends the link once; `tell` sends the reason to the peer before the wires close. */
  #fail(error: PeerError, tell: boolean): void {
    if (this.#error) return;
    this.#error = error;
    this.#cancelTick();
    this.#inbox.fail(error);
    this.#outbox.fail(error);
    this.#waiting = [];
    for (const wire of this.#wires()) {
      if (tell) this.#transmit(wire, linkFrame('abort', this.#run, this.#view, encodeAbort(error)));
      wire.onMessage = wire.onClose = wire.onDrain = undefined;
      wire.close();
    }
    this.#resolveFailed(error);
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
