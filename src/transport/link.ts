// A Link over any lanes: hello, tagged messages, heartbeats, and failures that name their culprit. The same code serves
// every transport. Start (link/handshake.ts): both say hello (version, ranks, lanes); nothing but hello and heartbeats
// leaves before the peer's hello came, so a late peer loses nothing. Then, if both allow it time, the tuner has the
// bulk lane for itself (link/probing.ts). While it lives: outbox, inbox, and signs of life (link/liveness.ts). End:
// closed wire, silence, broken rule or abort fails everything in flight at once; an abort is told on all lanes, so that
// it precedes any close. A leave counts when it has come on every lane that carries data, behind the data that was sent
// before it.

import { FormatError, PeerError } from '../base/errors.ts';
import type { Evidence } from '../base/errors.ts';
import type { DType, TypedArray } from '../base/shape.ts';
import { decodeAbort, decodeCredit, decodeHeartbeat, decodeHello, encodeAbort, encodeCredit } from './control.ts';
import {
  FRAME_BYTES,
  HEADER_BYTES,
  PROTOCOL_VERSION,
  claimedVersion,
  decodeFrame,
  encodeFrame,
  linkFrame,
} from './frame.ts';
import type { Frame } from './frame.ts';
import { Inbox } from './inbox.ts';
import { Handshake } from './link/handshake.ts';
import { Liveness } from './link/liveness.ts';
import { settingsOf } from './link/options.ts';
import type { LinkOptions, LinkSettings } from './link/options.ts';
import { Probing } from './link/probing.ts';
import { routeOf } from './link/route.ts';
import { RateMeter } from './measure/rate-meter.ts';
import { IDLE, STALE, Strikes, heartbeatLimit } from './measure/strikes.ts';
import { Outbox } from './outbox.ts';
import type { Called, Link, LinkReport, LinkStats, Tag, Wire } from './transport.ts';

export type { LinkOptions } from './link/options.ts';

export function createLink(options: LinkOptions): Link {
  return new LaneLink(settingsOf(options));
}

class LaneLink implements Link {
  readonly peer: number;
  readonly kind: string;
  readonly failed: Promise<PeerError>;
  readonly tuned: Promise<void>;
  readonly stats = {
    payloadSent: 0,
    framingSent: 0,
    payloadReceived: 0,
    framingReceived: 0,
    dropped: 0,
    roundTripMs: NaN,
    peerWaitsFor: undefined,
  } satisfies LinkStats as Mutable<LinkStats>;
  readonly #settings: LinkSettings;
  /** Bulk and latency, each once. */
  readonly #dataWires: readonly Wire[];
  readonly #handshake: Handshake;
  readonly #liveness: Liveness;
  readonly #probing: Probing;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #useless: Readonly<Record<'stale' | 'idle' | 'heartbeat', Strikes>>;
  readonly #rates = { sending: new RateMeter(), receiving: new RateMeter() };
  /** Wires on which the peer has said that it leaves. */
  readonly #leftOn = new Set<Wire>();
  #resolveFailed!: (error: PeerError) => void;
  #resolveTuned!: () => void;
  #error: PeerError | undefined;

  constructor(settings: LinkSettings) {
    const { lanes, peer, self, run, view, world, silentMs, heartbeatMs, windowBytes, tuneMs } = settings;
    const { bulk, latency, control } = lanes;
    this.#settings = settings;
    this.peer = peer;
    this.kind = bulk.kind;
    this.#dataWires = latency && latency !== bulk ? [bulk, latency] : [bulk];
    this.#useless = {
      stale: new Strikes(STALE),
      idle: new Strikes(IDLE),
      heartbeat: new Strikes(heartbeatLimit(heartbeatMs, silentMs)),
    };
    this.failed = new Promise((resolve) => {
      this.#resolveFailed = resolve;
    });
    this.tuned = new Promise((resolve) => {
      this.#resolveTuned = resolve;
    });
    const fault = (evidence: Evidence, detail: string): void => this.#accuse(evidence, detail);
    this.#handshake = new Handshake(
      { self, peer, lanes: this.#dataWires.length, tuneMs },
      {
        fault,
        sendHello: (payload) => this.#transmit(control, linkFrame('hello', run, view, payload)),
        transmit: (frame) => this.#transmit(control, frame),
        opened: (budgetMs) => this.#opened(budgetMs),
      },
    );
    const whenOpen = (frame: Frame): void => this.#handshake.whenOpen(frame);
    this.#inbox = new Inbox(self, peer, {
      fault,
      grant: (tag, dtype, total) => whenOpen({ ...linkFrame('grant', run, view), ...tag, dtype, total }),
      credit: (consumed) => whenOpen(linkFrame('credit', run, view, encodeCredit(consumed))),
      now: () => world.now(),
    });
    this.#outbox = new Outbox(
      { bulk, latency: this.#dataWires[1] },
      { run, view, framing: { frameBytes: FRAME_BYTES, windowBytes } },
      {
        fault,
        announce: (tag, dtype, total) => whenOpen({ ...linkFrame('announce', run, view), ...tag, dtype, total }),
        sent: (payload, framing) => {
          this.stats.payloadSent += payload;
          this.stats.framingSent += framing;
          this.#rates.sending.add(payload, world.now());
        },
      },
    );
    this.#probing = new Probing(world, bulk, {
      fault,
      sendOn: (lane, type, payload) => this.#transmit(lanes[lane], linkFrame(type, run, view, payload)),
      done: (framing) => {
        this.#outbox.use(framing);
        this.#outbox.open('all');
        this.#resolveTuned();
      },
    });
    this.#liveness = new Liveness(settings, this.stats, this.#inbox, {
      fault: (evidence, detail, culprit) => this.#fail(new PeerError(culprit, evidence, detail), true),
      sendHeartbeat: (payload) => this.#transmit(control, linkFrame('heartbeat', run, view, payload)),
    });
    for (const wire of this.#wires()) this.#listen(wire);
    for (const wire of this.#dataWires)
      wire.onDrain = () => {
        this.#probing.pump();
        this.#outbox.pump();
      };
    this.#handshake.sayHello();
    this.#liveness.start();
  }

  send(tag: Tag, data: TypedArray): Promise<void> {
    return this.#outbox.send(tag, data);
  }

  recv(tag: Tag, out: TypedArray): Promise<void> {
    return this.#inbox.recv(tag, out) as Promise<unknown> as Promise<void>;
  }

  post(tag: Tag, out: TypedArray): () => Promise<void> {
    const filled = this.#inbox.recv(tag, out, true);
    return () => {
      this.#inbox.awaited(tag);
      return filled as Promise<unknown> as Promise<void>;
    };
  }

  recvUpTo(tag: Tag, dtype: DType, maxCount: number): Promise<TypedArray> {
    return this.#inbox.recvUpTo(tag, dtype, maxCount);
  }

  note(called: Called): void {
    this.#inbox.note(called);
  }

  abort(error: PeerError): void {
    this.#fail(error, true);
  }

  allowSilence(silentMs: number): void {
    this.#liveness.allowSilence(silentMs);
  }

  leave(): void {
    if (this.#error) return;
    const { run, view, self } = this.#settings;
    for (const wire of this.#wires()) this.#transmit(wire, linkFrame('leave', run, view));
    this.#fail(new PeerError(self, 'left', `this rank left the link to rank ${this.peer}`), false);
  }

  report(): LinkReport {
    const { peer, kind } = this;
    const { sending, receiving } = this.#probing.rates;
    const path = this.#settings.path();
    return {
      peer,
      kind,
      route: routeOf(kind, path),
      path: path ?? kind,
      roundTripMs: this.stats.roundTripMs,
      sending: { probed: sending, observed: this.#rates.sending.mbs },
      receiving: { probed: receiving, observed: this.#rates.receiving.mbs },
      ...this.#outbox.framing,
    };
  }

  #wires(): Wire[] {
    return [...new Set([this.#settings.lanes.control, ...this.#dataWires])];
  }

  #listen(wire: Wire): void {
    wire.onMessage = (message) => this.#receive(message, wire);
    wire.onClose = (reason, broken) => {
      if (broken) this.#accuse('corrupt', reason);
      // The lanes of a leaving peer close one by one; its last data may still be on another.
      else if (!this.#leftOn.has(wire))
        this.#accuse('closed', `${reason}; its tab was closed, reloaded or lost the connection`);
    };
  }

  #receive(message: Uint8Array<ArrayBuffer>, wire: Wire): void {
    if (this.#error) return;
    try {
      const frame = decodeFrame(message);
      const now = this.#settings.world.now();
      const payload = frame.type === 'data' ? frame.payload.length : 0;
      this.stats.payloadReceived += payload;
      this.stats.framingReceived += message.length - payload;
      if (frame.run !== this.#settings.run || frame.view !== this.#settings.view) {
        this.stats.dropped++;
        this.#strike('stale', 'frames of another run or view');
        return;
      }
      // What another view says is no sign of life in this one.
      this.#liveness.heard(now);
      if (payload > 0) this.#rates.receiving.add(payload, now);
      this.#dispatch(frame, wire);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      const version = claimedVersion(message);
      if (version !== undefined && version !== PROTOCOL_VERSION)
        this.#accuse(
          'version',
          `it speaks protocol version ${version}, this tab ${PROTOCOL_VERSION}; reload both tabs`,
        );
      else this.#accuse('corrupt', error.message);
    }
  }

  #dispatch(frame: Frame, wire: Wire): void {
    const { payload } = frame;
    switch (frame.type) {
      case 'data':
        this.#inbox.data(frame);
        return;
      case 'announce':
        this.#inbox.announce(frame);
        return;
      case 'grant':
        this.#outbox.grant(frame);
        return;
      case 'credit':
        this.#outbox.credit(decodeCredit(payload));
        return;
      case 'heartbeat': {
        const heartbeat = decodeHeartbeat(payload);
        this.#strike('heartbeat', 'heartbeats');
        if (!this.#error) this.#liveness.heartbeat(heartbeat);
        return;
      }
      case 'abort':
        this.#aborted(decodeAbort(payload, this.peer));
        return;
      case 'leave':
        this.#left(wire);
        return;
      case 'hello':
        this.#handshake.hello(decodeHello(payload));
        return;
      case 'probe':
        this.#probing.probe(payload, !this.#handshake.open && this.#settings.tuneMs > 0);
        return;
      case 'probed':
        if (!this.#probing.probed(payload)) this.#strike('idle', 'answers to probes that nobody sent');
        return;
      case 'tuned':
        if (!this.#probing.tuned(payload)) this.#strike('idle', 'results of a tuner that nobody runs');
        return;
      default:
        frame.type satisfies never;
    }
  }

  /** The peer is there: the tuner goes first, if both ends allow it time. */
  #opened(budgetMs: number): void {
    this.#liveness.beat();
    this.#outbox.open(budgetMs > 0 ? 'latency' : 'all');
    if (budgetMs > 0) this.#probing.start(budgetMs, this.#settings.self < this.peer, this.#outbox.framing);
    else this.#resolveTuned();
  }

  #left(wire: Wire): void {
    if (this.#leftOn.has(wire)) this.#strike('idle', 'goodbyes that it has said');
    this.#leftOn.add(wire);
    if (this.#dataWires.every((lane) => this.#leftOn.has(lane)))
      this.#fail(new PeerError(this.peer, 'left', 'it left the run'), false);
  }

  #aborted(error: PeerError): void {
    const { worldSize } = this.#settings;
    if (error.culprit < worldSize) this.#fail(error, false);
    else this.#accuse('corrupt', `it ends the run for the fault of rank ${error.culprit}, of ${worldSize} ranks`);
  }

  /** Counts a frame that serves nothing; too many end the link. */
  #strike(kind: 'stale' | 'idle' | 'heartbeat', what: string): void {
    const strikes = this.#useless[kind];
    if (!strikes.add(this.#settings.world.now())) return;
    const { most, perSecond } = strikes.limit;
    this.#accuse(
      'corrupt',
      `it floods the link with ${what}: more than ${most} at once, where ${perSecond} a second are borne`,
    );
  }

  #transmit(wire: Wire, frame: Frame): void {
    this.stats.framingSent += HEADER_BYTES + frame.payload.length;
    wire.send(encodeFrame(frame));
  }

  /** Ends the link for a fault of the peer, and tells it. */
  #accuse(evidence: Evidence, detail: string): void {
    this.#fail(new PeerError(this.peer, evidence, detail), true);
  }

  /** Ends the link once; `tell` sends the reason to the peer before the wires close. */
  #fail(error: PeerError, tell: boolean): void {
    if (this.#error) return;
    this.#error = error;
    const { run, view } = this.#settings;
    this.#liveness.stop();
    this.#probing.stop();
    this.#inbox.fail(error);
    this.#outbox.fail(error);
    this.#handshake.fail();
    for (const wire of this.#wires()) {
      if (tell) this.#transmit(wire, linkFrame('abort', run, view, encodeAbort(error)));
      wire.onMessage = wire.onClose = wire.onDrain = undefined;
      wire.close();
    }
    this.#resolveTuned();
    this.#resolveFailed(error);
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
