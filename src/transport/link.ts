// A Link over any lanes: hello, tagged messages, heartbeats, and failures that name their culprit. The same code serves
// every transport. Start: both say hello (version, ranks, lanes); nothing but hello and heartbeats leaves before the
// peer's hello came, so a late peer loses nothing. Then, if both allow it time, the tuner has the bulk lane for itself.
// End: closed wire, silence, broken rule or abort fails everything in flight at once; an abort is told on all lanes, so
// that it precedes any close. A leave counts when it has come on every lane that carries data, behind the data that was
// sent before it.

import { ConfigError, FormatError, PeerError } from '../base/errors.ts';
import type { Evidence } from '../base/errors.ts';
import type { DType, TypedArray } from '../base/shape.ts';
import type { World } from '../base/world.ts';
import {
  decodeAbort,
  decodeCredit,
  decodeHeartbeat,
  decodeHello,
  decodeProbe,
  decodeProbed,
  decodeTuned,
  encodeAbort,
  encodeCredit,
  encodeHeartbeat,
  encodeHello,
  encodeProbed,
  encodeTuned,
} from './control.ts';
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
import { Inbox, describe } from './inbox.ts';
import { Outbox } from './outbox.ts';
import { RateMeter } from './measure/rate-meter.ts';
import { IDLE, STALE, Strikes, heartbeatLimit } from './measure/strikes.ts';
import { LinkTuner, MAX_BURSTS, MAX_PROBE_BYTES, minimumWindow } from './tune-link.ts';
import type { Called, Lanes, Link, LinkReport, LinkRoute, LinkStats, Tag, Wire } from './transport.ts';

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
  /**
   * Most bytes handed to the wire and not yet sent, unless the tuner finds better; 256 KiB was fastest on data
   * channels.
   */
  readonly windowBytes?: number;
  /**
   * Longest that the tuner may take before the first data, for both directions; the shorter of both ends' counts, 0
   * (the default) turns it off.
   */
  readonly tuneMs?: number;
  /**
   * Kind of the ICE candidate that the packets take, if somebody knows it or will: host, srflx, prflx or relay. For the
   * report.
   */
  readonly path?: string | (() => string | undefined);
  /** Longest wait of one receive from a peer that still gives signs of life; unlimited by default. */
  readonly deadlineMs?: number;
  /**
   * Rank that this rank waits for over any of its links; told in heartbeats, so that a deadline names the rank that
   * holds up the others and not a fellow victim.
   */
  readonly waitsFor?: () => number | undefined;
  /** From the rank whose message is overdue to the one at fault, by what heartbeats told. */
  readonly blame?: (peer: number) => number;
  /** How many ranks there are, if it is known: a peer that speaks of others breaks the rules. */
  readonly worldSize?: number;
}

/**
 * A peer that has not heard us says hello anew for each link that it starts; more answers than this would fill our
 * control lane at its will.
 */
const MAX_HELLOS = 64;

export function createLink(options: LinkOptions): Link {
  return new LaneLink(options);
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
  readonly #self: number;
  readonly #run: number;
  readonly #view: number;
  readonly #world: World;
  readonly #lanes: Lanes;
  #silentMs: number;
  readonly #heartbeatMs: number;
  readonly #deadlineMs: number;
  readonly #waitsFor: () => number | undefined;
  readonly #blame: (peer: number) => number;
  readonly #worldSize: number;
  readonly #useless: Readonly<Record<'stale' | 'idle' | 'heartbeat', Strikes>>;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  #resolveFailed!: (error: PeerError) => void;
  #resolveTuned!: () => void;
  #error: PeerError | undefined;
  #open = false;
  #hellos = 0;
  /** Wires on which the peer has said that it leaves. */
  readonly #leftOn = new Set<Wire>();
  /** Bulk and latency, each once. */
  readonly #dataWires: readonly Wire[];
  readonly #tuneMs: number;
  readonly #path: () => string | undefined;
  readonly #rates = { sending: new RateMeter(), receiving: new RateMeter() };
  #tuner: LinkTuner | undefined;
  #probed = { sending: 0, receiving: 0, bytes: 0, bursts: 0 };
  /** Announces, grants and credits that wait for the peer's hello. */
  #waiting: Frame[] = [];
  #lastHeard: number;
  #nextTick: number;
  #cancelTick: () => void = () => undefined;
  #echo = { sentAt: NaN, at: NaN };

  constructor(options: LinkOptions) {
    const {
      lanes,
      peer,
      self,
      run,
      view,
      world,
      silentMs = 6000,
      heartbeatMs = 1000,
      windowBytes = 256 * 1024,
      deadlineMs = Infinity,
      tuneMs = 0,
    } = options;
    this.#waitsFor = options.waitsFor ?? (() => undefined);
    this.#blame = options.blame ?? ((waited) => waited);
    this.#worldSize = options.worldSize ?? Infinity;
    this.#useless = {
      stale: new Strikes(STALE),
      idle: new Strikes(IDLE),
      heartbeat: new Strikes(heartbeatLimit(heartbeatMs, silentMs)),
    };
    const minimum = minimumWindow(FRAME_BYTES);
    if (windowBytes < minimum)
      throw new ConfigError(
        'windowBytes',
        `expected at least ${minimum}, got ${windowBytes}; a smaller window never drains`,
      );
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
    this.#tuneMs = Math.max(0, Math.min(60_000, Math.floor(tuneMs)));
    const { path } = options;
    this.#path = typeof path === 'function' ? path : () => path;
    const { bulk, latency } = lanes;
    this.#dataWires = latency && latency !== bulk ? [bulk, latency] : [bulk];
    this.failed = new Promise((resolve) => {
      this.#resolveFailed = resolve;
    });
    this.tuned = new Promise((resolve) => {
      this.#resolveTuned = resolve;
    });
    const fault = (evidence: Evidence, detail: string): void => this.#fail(new PeerError(peer, evidence, detail), true);
    this.#inbox = new Inbox(self, peer, {
      fault,
      grant: (tag, dtype, total) => this.#whenOpen({ ...linkFrame('grant', run, view), ...tag, dtype, total }),
      credit: (consumed) => this.#whenOpen(linkFrame('credit', run, view, encodeCredit(consumed))),
      now: () => world.now(),
    });
    this.#outbox = new Outbox(
      { bulk, latency: this.#dataWires[1] },
      { run, view, choice: { frameBytes: FRAME_BYTES, windowBytes } },
      {
        fault,
        announce: (tag, dtype, total) => this.#whenOpen({ ...linkFrame('announce', run, view), ...tag, dtype, total }),
        sent: (payload, framing) => {
          this.stats.payloadSent += payload;
          this.stats.framingSent += framing;
          this.#rates.sending.add(payload, world.now());
        },
      },
    );
    this.#lastHeard = world.now();
    this.#nextTick = this.#lastHeard;
    for (const wire of this.#wires()) this.#listen(wire);
    for (const wire of this.#dataWires)
      wire.onDrain = () => {
        if (this.#tuner) this.#tuner.pump();
        this.#outbox.pump();
      };
    this.#sendHello();
    this.#arm();
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
    this.#silentMs = silentMs;
    // What was borne before is not held against the peer now.
    this.#lastHeard = this.#world.now();
  }

  leave(): void {
    if (this.#error) return;
    for (const wire of this.#wires()) this.#transmit(wire, linkFrame('leave', this.#run, this.#view));
    this.#fail(new PeerError(this.#self, 'left', `this rank left the link to rank ${this.peer}`), false);
  }

  report(): LinkReport {
    const { peer, kind } = this;
    const { sending, receiving } = this.#probed;
    const path = this.#path();
    return {
      peer,
      kind,
      route: routeOf(kind, path),
      path: path ?? kind,
      roundTripMs: this.stats.roundTripMs,
      sending: { probed: sending > 0 ? sending / 1000 : NaN, observed: this.#rates.sending.mbs },
      receiving: { probed: receiving > 0 ? receiving / 1000 : NaN, observed: this.#rates.receiving.mbs },
      ...this.#outbox.choice,
    };
  }

  #wires(): Wire[] {
    return [...new Set([this.#lanes.control, ...this.#dataWires])];
  }

  #listen(wire: Wire): void {
    wire.onMessage = (message) => this.#receive(message, wire);
    wire.onClose = (reason, broken) => {
      if (broken) {
        this.#fail(new PeerError(this.peer, 'corrupt', reason), true);
        return;
      }
      // The lanes of a leaving peer close one by one; its last data may still be on another.
      if (this.#leftOn.has(wire)) return;
      this.#fail(
        new PeerError(this.peer, 'closed', `${reason}; its tab was closed, reloaded or lost the connection`),
        true,
      );
    };
  }

  #receive(message: Uint8Array<ArrayBuffer>, wire: Wire): void {
    if (this.#error) return;
    try {
      const frame = decodeFrame(message);
      const now = this.#world.now();
      const payload = frame.type === 'data' ? frame.payload.length : 0;
      this.stats.payloadReceived += payload;
      this.stats.framingReceived += message.length - payload;
      if (frame.run !== this.#run || frame.view !== this.#view) {
        this.stats.dropped++;
        this.#strike('stale', 'frames of another run or view');
        return;
      }
      // What another view says is no sign of life in this one.
      this.#lastHeard = now;
      if (payload > 0) this.#rates.receiving.add(payload, now);
      this.#dispatch(frame, wire);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      const version = claimedVersion(message);
      if (version !== undefined && version !== PROTOCOL_VERSION) {
        this.#fail(
          new PeerError(
            this.peer,
            'version',
            `it speaks protocol version ${version}, this tab ${PROTOCOL_VERSION}; reload both tabs`,
          ),
          true,
        );
      } else this.#fail(new PeerError(this.peer, 'corrupt', error.message), true);
    }
  }

  #dispatch(frame: Frame, wire: Wire): void {
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
        this.#outbox.credit(decodeCredit(frame.payload));
        return;
      case 'heartbeat':
        this.#heartbeat(frame);
        return;
      case 'abort':
        this.#aborted(decodeAbort(frame.payload, this.peer));
        return;
      case 'leave':
        if (this.#leftOn.has(wire)) this.#strike('idle', 'goodbyes that it has said');
        this.#leftOn.add(wire);
        if (this.#dataWires.every((lane) => this.#leftOn.has(lane)))
          this.#fail(new PeerError(this.peer, 'left', 'it left the run'), false);
        return;
      case 'hello':
        this.#hello(frame);
        return;
      case 'probe':
        this.#probe(frame);
        return;
      case 'probed':
        if (!this.#tuner?.probed(decodeProbed(frame.payload)))
          this.#strike('idle', 'answers to probes that nobody sent');
        return;
      case 'tuned':
        if (!this.#tuner?.tuned(decodeTuned(frame.payload)))
          this.#strike('idle', 'results of a tuner that nobody runs');
        return;
      default:
        frame.type satisfies never;
    }
  }

  /** Counts a frame that serves nothing; too many end the link. */
  #strike(kind: 'stale' | 'idle' | 'heartbeat', what: string): void {
    const strikes = this.#useless[kind];
    if (!strikes.add(this.#world.now())) return;
    const { most, perSecond } = strikes.limit;
    this.#fail(
      new PeerError(
        this.peer,
        'corrupt',
        `it floods the link with ${what}: more than ${most} at once, where ${perSecond} a second are borne`,
      ),
      true,
    );
  }

  #aborted(error: PeerError): void {
    if (error.culprit < this.#worldSize) this.#fail(error, false);
    else
      this.#fail(
        new PeerError(
          this.peer,
          'corrupt',
          `it ends the run for the fault of rank ${error.culprit}, of ${this.#worldSize} ranks`,
        ),
        true,
      );
  }

  #hello(frame: Frame): void {
    const { sender, receiver, heard, lanes, tuneMs } = decodeHello(frame.payload);
    if (sender !== this.peer || receiver !== this.#self) {
      this.#fail(
        new PeerError(
          this.peer,
          'corrupt',
          `it says that it is rank ${sender} and speaks to rank ${receiver}, expected ${this.peer} and ${this.#self}`,
        ),
        true,
      );
      return;
    }
    if (++this.#hellos > MAX_HELLOS) {
      this.#fail(new PeerError(this.peer, 'corrupt', `it said hello more than ${MAX_HELLOS} times`), true);
      return;
    }
    if (lanes !== this.#dataWires.length) {
      this.#fail(
        new PeerError(
          this.peer,
          'corrupt',
          `it has ${lanes} lanes for data, this tab ${this.#dataWires.length}; both ends must open the same channels`,
        ),
        true,
      );
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
    const budgetMs = Math.min(tuneMs, this.#tuneMs);
    this.#outbox.open(budgetMs > 0 ? 'latency' : 'all');
    if (budgetMs > 0) this.#tune(budgetMs);
    else this.#resolveTuned();
  }

  #tune(budgetMs: number): void {
    const { bulk } = this.#lanes;
    const [run, view] = [this.#run, this.#view];
    this.#tuner = new LinkTuner({
      world: this.#world,
      budgetMs,
      first: this.#self < this.peer,
      choice: this.#outbox.choice,
      buffered: () => bulk.bufferedAmount,
      probe: (payload) => this.#transmit(bulk, linkFrame('probe', run, view, payload)),
      tell: (tuned) => this.#transmit(this.#lanes.control, linkFrame('tuned', run, view, encodeTuned(tuned))),
      done: ({ choice, sending, receiving }) => {
        Object.assign(this.#probed, { sending, receiving });
        this.#outbox.use(choice);
        this.#outbox.open('all');
        this.#resolveTuned();
      },
    });
    this.#tuner.start();
  }

  #probe(frame: Frame): void {
    const { burst, left } = decodeProbe(frame.payload);
    this.#probed.bytes += frame.payload.length;
    if (left === 0) this.#probed.bursts++;
    // Lanes are not ordered among each other: a probe may overtake the hello of who has heard ours, and tunes already.
    const agreed = this.#tuner !== undefined || (!this.#open && this.#tuneMs > 0);
    if (!agreed || this.#probed.bytes > MAX_PROBE_BYTES || this.#probed.bursts > MAX_BURSTS) {
      this.#fail(
        new PeerError(
          this.peer,
          'corrupt',
          `it probes the link with ${this.#probed.bytes} bytes in ${this.#probed.bursts} bursts; agreed were ${agreed ? MAX_PROBE_BYTES : 0} in ${agreed ? MAX_BURSTS : 0}`,
        ),
        true,
      );
    } else if (left === 0)
      this.#transmit(this.#lanes.control, linkFrame('probed', this.#run, this.#view, encodeProbed(burst)));
  }

  #sendHello(): void {
    this.#transmit(
      this.#lanes.control,
      linkFrame(
        'hello',
        this.#run,
        this.#view,
        encodeHello({
          sender: this.#self,
          receiver: this.peer,
          heard: this.#open,
          lanes: this.#dataWires.length,
          tuneMs: this.#tuneMs,
        }),
      ),
    );
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
    const payload = encodeHeartbeat({
      sentAt: now,
      echo: this.#echo.sentAt,
      heldMs: now - this.#echo.at,
      waitsFor: this.#waitsFor(),
    });
    this.#transmit(this.#lanes.control, linkFrame('heartbeat', this.#run, this.#view, payload));
  }

  #heartbeat(frame: Frame): void {
    const { sentAt, echo, heldMs, waitsFor } = decodeHeartbeat(frame.payload);
    this.#strike('heartbeat', 'heartbeats');
    if (this.#error) return;
    if (waitsFor !== undefined && waitsFor >= this.#worldSize) {
      this.#fail(
        new PeerError(this.peer, 'corrupt', `it waits for rank ${waitsFor}, of ${this.#worldSize} ranks`),
        true,
      );
      return;
    }
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
    const lateMs = now - this.#nextTick;
    if (lateMs > 2 * this.#heartbeatMs) {
      // This tab itself was frozen or busy: what the peer sent meanwhile is still in our queues, so give it two
      // heartbeats to show.
      this.#lastHeard = Math.max(this.#lastHeard, now - this.#silentMs + 2 * this.#heartbeatMs);
      this.#inbox.excuse(lateMs + 2 * this.#heartbeatMs);
      this.#nextTick = now;
    }
    const quietMs = now - this.#lastHeard;
    if (quietMs > this.#silentMs) {
      this.#fail(
        new PeerError(
          this.peer,
          'silent',
          `nothing came from it for ${Math.round(quietMs)} ms, more than ${this.#silentMs} ms`,
        ),
        true,
      );
      return;
    }
    const oldest = this.#deadlineMs < Infinity ? this.#inbox.oldest() : undefined;
    if (oldest && now - oldest.since > this.#deadlineMs) {
      const culprit = this.#blame(this.peer);
      const sender = culprit === this.peer ? 'it' : `rank ${this.peer}, which waits in turn,`;
      this.#fail(
        new PeerError(
          culprit,
          'slow',
          `${describe(oldest.tag)}: ${sender} did not send ${oldest.signature} within ${this.#deadlineMs} ms (last heard ${Math.round(quietMs)} ms ago)`,
        ),
        true,
      );
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
    this.#tuner?.stop();
    this.#inbox.fail(error);
    this.#outbox.fail(error);
    this.#waiting = [];
    for (const wire of this.#wires()) {
      if (tell) this.#transmit(wire, linkFrame('abort', this.#run, this.#view, encodeAbort(error)));
      wire.onMessage = wire.onClose = wire.onDrain = undefined;
      wire.close();
    }
    this.#resolveTuned();
    this.#resolveFailed(error);
  }
}

/** From what the wire is made of, or the candidate that the page knows. */
function routeOf(kind: string, path: string | undefined): LinkRoute {
  if (path === 'relay') return 'relayed';
  if (path === 'host' || path === 'srflx' || path === 'prflx') return 'direct';
  return kind === 'same browser' || kind === 'message-port' || kind === 'broadcast-channel'
    ? 'same browser'
    : 'unknown';
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
