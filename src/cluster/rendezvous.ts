// The meeting point of a room: who is here, and signals to one of them. A Carrier (BroadcastChannel, MQTT) moves opaque
// bytes between addresses; this file, the same over every carrier, signs and seals what we say (identity/envelope.ts),
// believes what identity/register.ts lets through, and keeps the roster. Joining: say `hello`, listen for `settleMs`,
// take the next order, announce. Whoever announces itself and has not answered our challenge is asked to, and stands on
// no roster before. Leaving is a signed bye, made at the join, so that a closing page can say it. What a carrier
// reports as lost is only asked after, where others could have said it: whoever lives answers. The surprising rule:
// payloads of another key are a notice and never an error, because anybody who knows the room's name can send them.
// Cost: one signed presence per member and hello.

import { AbortedError, ConfigError } from '../base/errors.ts';
import { openOrClose } from '../base/open-or-close.ts';
import type { World } from '../base/world.ts';
import { Speaker } from './identity/envelope.ts';
import { identityOf, newKeyPair } from './identity/keys.ts';
import type { Identity } from './identity/keys.ts';
import { CHALLENGE_BYTES, encodeTold, Register } from './identity/register.ts';
import type { Peer } from './identity/register.ts';
import { byAge, nextOrder, PROTOCOL_VERSION } from './presence.ts';
import type { Introduction, Presence, Role } from './presence.ts';
import type { Carrier } from './room/carrier.ts';
import { Incoming } from './room/incoming.ts';
import { deriveSeal } from './seal.ts';
import type { Bytes, Seal } from './seal.ts';

export type { Carrier, CarrierHandlers } from './room/carrier.ts';

export interface RendezvousEvents {
  /**
   * Everybody in the room, oneself included, oldest first. Called at each change. What arrives meanwhile waits until
   * the promise is settled.
   */
  onPeers(roster: readonly Presence[]): void | Promise<void>;
  /** One opened signal; those of one sender arrive in the order in which they were sent. */
  onSignal(from: string, payload: Bytes): void;
  /** One sentence for people. */
  onStatus(text: string): void;
  /**
   * One sentence for people about others under the name of this room, which stays true: another key, another version.
   */
  onNotice(text: string): void;
  /** The room cannot be used any more; close it. */
  onFatal(error: Error): void;
}

/** What a member may say anew about itself while it is in the room. `undefined` takes a part back. */
export interface PresenceChange {
  readonly name?: string;
  readonly adapter?: string;
  readonly software?: boolean;
  readonly role?: Role;
  readonly run?: Presence['run'] | undefined;
  readonly wants?: Presence['wants'] | undefined;
  readonly ended?: Presence['ended'] | undefined;
  readonly law?: Presence['law'] | undefined;
  readonly holds?: Presence['holds'] | undefined;
}

export interface Rendezvous {
  readonly me: Presence;
  /**
   * Announces ourselves anew. Who becomes a trainer stands behind all that are here. `onPeers` hears it before this
   * returns.
   */
  update(change: PresenceChange): void;
  /** Ignored after close. */
  signal(to: string, payload: Bytes): void;
  /** Leaves the room; the others know at once. */
  close(): Promise<void>;
}

export interface RendezvousOptions {
  readonly world: World;
  readonly carrier: Carrier;
  readonly room: string;
  readonly key: string;
  readonly me: Introduction;
  /** By default a new one. */
  readonly identity?: Identity;
  readonly protocolVersion?: number;
  readonly settleMs?: number;
  readonly confirmMs?: number;
}

/** What a room may be called: its name becomes part of topics, channel names and lock names. */
export const ROOM_NAME = /^[A-Za-z0-9_-]{1,64}$/;

const HELLO_PAUSE_MS = 200;
/** Whoever does not answer is asked again after this, MAX_ASKED times. */
const ASK_PAUSE_MS = 500;
const MAX_ASKED = 4;
/** Addresses that were told about; more are not. */
const MAX_TOLD = 128;

/** Resolves when the room knows us. Rejects with ConfigError (key, room name) or RoomError (broker). */
export async function joinRendezvous(options: RendezvousOptions, events: RendezvousEvents): Promise<Rendezvous> {
  const { world, room, key } = options;
  if (!ROOM_NAME.test(room)) {
    throw new ConfigError('room name', `expected 1 to 64 letters, digits, - or _, got '${room.slice(0, 80)}'`);
  }
  const seal = await deriveSeal(world, room, key);
  const speaker = await Speaker.join(world, room, seal, options.identity ?? (await identityOf(await newKeyPair())));
  const meeting = new Meeting(options, events, seal, speaker, await speaker.say('bye', '', new Uint8Array(0)));
  return openOrClose(meeting);
}

class Meeting implements Rendezvous {
  readonly #options: RendezvousOptions;
  readonly #events: RendezvousEvents;
  readonly #speaker: Speaker;
  readonly #address: string;
  readonly #register: Register;
  readonly #bye: Bytes;
  readonly #told = new Set<string>();
  #me: Presence | undefined;
  #closed = false;
  #answering: 'no' | 'pausing' | 'again' = 'no';
  #announcing = false;
  #cancelConfirm: (() => void) | undefined;
  #cancelAsk: (() => void) | undefined;
  readonly #incoming: Incoming;
  #outgoing: Promise<void> = Promise.resolve();

  constructor(options: RendezvousOptions, events: RendezvousEvents, seal: Seal, speaker: Speaker, bye: Bytes) {
    this.#options = options;
    this.#events = events;
    this.#speaker = speaker;
    this.#address = speaker.address;
    this.#bye = bye;
    this.#incoming = new Incoming(
      () => this.#closed,
      (error) => events.onFatal(error),
    );
    this.#register = new Register({ world: options.world, seal, room: options.room });
  }

  get me(): Presence {
    return this.#me!;
  }

  async open(): Promise<void> {
    const { world, carrier, room, me, protocolVersion = PROTOCOL_VERSION, settleMs = 400 } = this.#options;
    await carrier.open(room, this.#address, {
      onHello: (from, sealed) => this.#receive(from, () => this.#hello(from, sealed)),
      onPresence: (from, sealed, live) => this.#receive(from, () => this.#presence(from, sealed, live)),
      onBye: (from, sealed) => this.#receive(from, () => this.#left(from, sealed)),
      onGone: (from, evidence) => this.#receive(from, () => this.#gone(from, evidence)),
      onSignal: (from, sealed) => this.#receive(from, () => this.#signal(from, sealed)),
      onDown: (reason) => this.#events.onStatus(`${carrier.name}: ${reason}; trying again, open connections go on`),
      onUp: () => this.#renew(),
    });
    this.#sayHello();
    await new Promise<void>((resolve) => {
      world.timer(settleMs, resolve);
    });
    await this.#incoming.handled();
    if (this.#closed) throw new AbortedError('the room was left while joining it');
    this.#me = {
      ...me,
      id: this.#speaker.identity.id,
      address: this.#address,
      order: this.#nextOrder(),
      protocolVersion,
    };
    carrier.announce(await this.#sayPresence(this.#me));
    void this.#changed();
    this.#ask();
  }

  update(change: PresenceChange): void {
    if (!this.#me || this.#closed) return;
    const before = this.#me;
    const order = change.role === 'trainer' && before.role !== 'trainer' ? this.#nextOrder() : before.order;
    this.#me = Object.fromEntries(
      Object.entries({ ...before, ...change, order }).filter(([, value]) => value !== undefined),
    ) as unknown as Presence;
    void this.#changed();
    this.#announce();
  }

  signal(to: string, payload: Bytes): void {
    this.#say(async () => {
      const sealed = await this.#speaker.say('signal', to, payload);
      if (!this.#closed) this.#options.carrier.signal(to, sealed);
    });
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    this.#cancelConfirm?.();
    this.#cancelAsk?.();
    this.#register.clear();
    return this.#options.carrier.close(this.#bye);
  }

  /** Says things in the order in which they were wanted: signing is asynchronous. */
  #say(say: () => Promise<void>): void {
    if (this.#closed) return;
    this.#outgoing = this.#outgoing
      .then(say)
      .catch((error: unknown) => this.#events.onStatus(error instanceof Error ? error.message : String(error)));
  }

  #sayPresence(presence: Presence): Promise<Bytes> {
    const { challenge } = this.#register;
    return this.#speaker.say('presence', '', encodeTold({ challenge, answers: this.#register.answers(), presence }));
  }

  #announce(): void {
    // Several changes in a row are told as the last of them.
    if (this.#announcing) return;
    this.#announcing = true;
    this.#say(async () => {
      this.#announcing = false;
      if (!this.#me || this.#closed) return;
      const sealed = await this.#sayPresence(this.#me);
      if (!this.#closed) this.#options.carrier.announce(sealed);
    });
  }

  #sayHello(): void {
    this.#say(async () => {
      const sealed = await this.#speaker.say('hello', '', this.#register.challenge);
      if (!this.#closed) this.#options.carrier.hello(sealed);
    });
  }

  #answerHello(): void {
    if (!this.#me || this.#closed) return;
    // A burst of hellos gets two answers, at its start and after it: nobody is missed, and nobody can make us shout.
    if (this.#answering !== 'no') {
      this.#answering = 'again';
      return;
    }
    this.#answering = 'pausing';
    this.#announce();
    this.#options.world.timer(HELLO_PAUSE_MS, () => {
      const again = this.#answering === 'again';
      this.#answering = 'no';
      if (again) this.#answerHello();
    });
  }

  #renew(): void {
    if (!this.#me || this.#closed) return;
    this.#events.onStatus(`${this.#options.carrier.name}: connected again`);
    this.#register.renew();
    this.#announce();
    this.#sayHello();
    this.#cancelConfirm?.();
    this.#cancelConfirm = this.#options.world.timer(this.#options.confirmMs ?? 5000, () => {
      this.#cancelConfirm = undefined;
      const missing = this.#register.unconfirmed();
      for (const { address } of missing) this.#depart(address, false);
      if (missing.length > 0) void this.#changed();
    });
  }

  /** Asks those that have not answered our challenge, or seem to be gone, for as long as there are some. */
  #ask(): void {
    if (this.#cancelAsk || this.#closed) return;
    const doubtful = [
      ...this.#register.unproven(),
      ...this.#register.unconfirmed(),
      ...this.#register.members().filter(({ cancelGrace }) => cancelGrace),
    ];
    const asked = doubtful.filter((peer) => peer.asked < MAX_ASKED);
    if (asked.length === 0) return;
    for (const peer of asked) peer.asked++;
    this.#sayHello();
    this.#cancelAsk = this.#options.world.timer(ASK_PAUSE_MS, () => {
      this.#cancelAsk = undefined;
      this.#ask();
    });
  }

  #receive(from: string, handle: () => Promise<void> | void): void {
    if (from !== this.#address) this.#incoming.take(from, handle);
  }

  async #hello(from: string, sealed: Bytes): Promise<void> {
    const heard = await this.#hear('hello', from, '', sealed, true);
    if (heard && heard.body.byteLength === CHALLENGE_BYTES) heard.peer.challenge = heard.body.slice();
    // Also who has another key should hear that it is not alone.
    this.#answerHello();
  }

  async #presence(from: string, sealed: Bytes, live: boolean): Promise<void> {
    const heard = await this.#hear('presence', from, '', sealed, live);
    if (!heard) return;
    const { peer, body } = heard;
    const before = peer.answered && peer.presence;
    if (!this.#register.announced(peer, body))
      return this.#tell(
        from,
        `a member (${from}) announced itself in a form this page does not understand; reload both pages`,
      );
    peer.cancelGrace?.();
    peer.cancelGrace = undefined;
    if (!peer.answered) return this.#me && this.#ask();
    if (!before) this.#options.carrier.watch(from);
    if (!before || !samePresence(before, peer.presence!)) await this.#changed();
  }

  async #signal(from: string, sealed: Bytes): Promise<void> {
    const heard = await this.#hear('signal', from, this.#address, sealed, true);
    if (heard) this.#events.onSignal(from, heard.body);
  }

  async #left(from: string, sealed: Bytes): Promise<void> {
    const heard = await this.#hear('bye', from, '', sealed, true);
    if (!heard) return;
    const counted = heard.peer.answered !== undefined;
    this.#depart(from, true);
    if (counted) await this.#changed();
  }

  #gone(from: string, evidence: 'certain' | 'said'): void | Promise<void> {
    const peer = this.#register.get(from);
    if (!peer?.answered) return;
    const { world, carrier } = this.#options;
    const drop = (): void | Promise<void> => {
      if (this.#register.get(from) !== peer) return;
      this.#depart(from, false);
      return this.#changed();
    };
    if (evidence === 'certain') return drop();
    peer.cancelGrace ??= world.timer(carrier.graceMs, () => void drop());
    this.#ask();
  }

  #depart(address: string, forGood: boolean): void {
    this.#register.depart(address, forGood);
    this.#options.carrier.unwatch(address);
  }

  /** What counts of what arrived. */
  async #hear(
    kind: 'hello' | 'presence' | 'signal' | 'bye',
    from: string,
    to: string,
    sealed: Bytes,
    live: boolean,
  ): Promise<{ readonly peer: Peer; readonly body: Bytes } | undefined> {
    const verdict = await this.#register.hear(kind, from, to, sealed);
    if ('peer' in verdict) return verdict;
    switch (verdict.refused) {
      case 'closed':
        // A store may still hold the presence of a room of the same name that is long gone; only its owner counts.
        // A bye of others, or what others say from the address of somebody we know, is no news of that address.
        if (live && kind !== 'bye' && !(kind === 'presence' && this.#register.get(from)))
          this.#tell(
            from,
            `somebody in this room has a different key and is not heard (${from}); if it is your own tab, or you expected others here, copy the whole link from one of their tabs`,
          );
        return undefined;
      case 'version':
        this.#tell(
          from,
          `somebody in this room (${from}) speaks ${verdict.version ? `protocol ${verdict.version}` : 'another protocol'}, this page speaks ${PROTOCOL_VERSION}, and they do not hear each other; reload both from the same address`,
        );
        return undefined;
      case 'late':
        // One renewal at a time, or recordings could keep anybody from being confirmed.
        if (!this.#cancelAsk && !this.#cancelConfirm) {
          this.#register.renew();
          this.#ask();
        }
        return undefined;
      case 'forged':
      case 'repeated':
      case 'left':
        return undefined;
    }
  }

  #tell(from: string, text: string): void {
    if (this.#told.has(from) || this.#told.size >= MAX_TOLD) return;
    this.#told.add(from);
    this.#events.onNotice(text);
  }

  /** Behind all that ever announced themselves, also those that a store holds and that have not answered yet. */
  #nextOrder(): number {
    return nextOrder([...this.#register.announcements(), ...(this.#me ? [this.#me] : [])]);
  }

  #roster(): Presence[] {
    const roster = this.#register.members().map(({ presence }) => presence!);
    if (this.#me) roster.push(this.#me);
    return roster.sort(byAge);
  }

  #changed(): void | Promise<void> {
    if (this.#me && !this.#closed) return this.#events.onPeers(this.#roster());
  }
}

/** The fields stand in the order in which the decoder reads them. */
function samePresence(a: Presence, b: Presence): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
