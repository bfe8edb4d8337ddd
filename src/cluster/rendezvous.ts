// The meeting point of a room: who is here, and signals to one of them. A Carrier (BroadcastChannel, MQTT) moves opaque bytes between addresses; this file,
// the same over every carrier, seals them with the room key, keeps the roster and tells a wrong key apart from an empty room.
// Joining: say `hello?`, listen for `settleMs`, take the next order, announce. An entry from a broker's store is believed for `confirmMs`, until its owner
// answers. The surprising rule: payloads of another key are fatal only for a newcomer who could open none; later they are a notice, because anybody who
// knows the room's name could send them. Cost: one sealed presence per member and hello.

import { AbortedError, ConfigError, FormatError, RoomError } from '../base/errors.ts';
import { randomHex } from '../base/world.ts';
import type { World } from '../base/world.ts';
import { byAge, decodePresence, encodePresence, nextOrder, PROTOCOL_VERSION } from './presence.ts';
import type { Introduction, Presence, Role } from './presence.ts';
import { deriveSeal } from './seal.ts';
import type { Bytes, Seal } from './seal.ts';

/** Moves bytes between the addresses of one room. Knows no keys. */
export interface Carrier {
  /** For people: 'tabs of this browser', 'broker ws://...'. */
  readonly name: string;
  /** How long a member may be gone, without having said so, before it is taken off the roster. */
  readonly graceMs: number;
  /** Resolves when everything sent to `address` or to the whole room arrives. Rejects with RoomError. Called once. */
  open(room: string, address: string, handlers: CarrierHandlers): Promise<void>;
  /** Asks everybody to announce themselves. */
  hello(): void;
  announce(sealed: Bytes): void;
  signal(to: string, sealed: Bytes): void;
  /** Withdraws the presence and closes; what must go out goes out synchronously, so that it works in a closing page. */
  close(): Promise<void>;
}

export interface CarrierHandlers {
  onHello(from: string): void;
  /** `live`: announced by its owner just now, not read from a store. */
  onPresence(from: string, sealed: Bytes, live: boolean): void;
  onGone(from: string, evidence: 'left' | 'lost'): void;
  onSignal(from: string, sealed: Bytes): void;
  onDown(reason: string): void;
  /** The carrier works again after onDown. */
  onUp(): void;
}

export interface RendezvousEvents {
  /** Everybody in the room, oneself included, oldest first. Called at each change. */
  onPeers(roster: readonly Presence[]): void;
  /** One opened signal; those of one sender arrive in the order in which they were sent. */
  onSignal(from: string, payload: Bytes): void;
  /** One sentence for people. */
  onStatus(text: string): void;
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
}

export interface Rendezvous {
  readonly me: Presence;
  /** Announces ourselves anew. Who becomes a trainer stands behind all that are here. `onPeers` hears it before this returns. */
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
  readonly protocolVersion?: number;
  readonly settleMs?: number;
  readonly confirmMs?: number;
}

/** More members than this are not shown; the cap holds whatever arrives. */
export const MAX_MEMBERS = 128;
const HELLO_PAUSE_MS = 200;
const MAX_WAITING = 2048;

interface Entry { presence: Presence; live: boolean; cancelGrace: (() => void) | undefined }

/** Resolves when the room knows us. Rejects with ConfigError (key, room name) or RoomError (wrong-key, broker). */
export async function joinRendezvous(options: RendezvousOptions, events: RendezvousEvents): Promise<Rendezvous> {
  // The name becomes part of topics, channel names and lock names.
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(options.room)) throw new ConfigError('room name', `expected 1 to 64 letters, digits, - or _, got '${options.room.slice(0, 80)}'`);
  const seal = await deriveSeal(options.world, options.room, options.key);
  const meeting = new Meeting(options, events, seal);
  await meeting.open();
  return meeting;
}

class Meeting implements Rendezvous {
  readonly #options: RendezvousOptions;
  readonly #events: RendezvousEvents;
  readonly #seal: Seal;
  readonly #address: string;
  readonly #entries = new Map<string, Entry>();
  readonly #strangers = new Set<string>();
  #me: Presence | undefined;
  #sealedMe: Bytes | undefined;
  #opened = 0;
  #closed = false;
  #answering: 'no' | 'pausing' | 'again' = 'no';
  #newcomer = true;
  #cancelConfirm: (() => void) | undefined;
  #incoming: Promise<void> = Promise.resolve();
  #outgoing: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(options: RendezvousOptions, events: RendezvousEvents, seal: Seal) {
    this.#options = options;
    this.#events = events;
    this.#seal = seal;
    this.#address = randomHex(options.world, 8);
  }

  get me(): Presence { return this.#me!; }

  async open(): Promise<void> {
    const { world, carrier, room, me, protocolVersion = PROTOCOL_VERSION, settleMs = 400 } = this.#options;
    await carrier.open(room, this.#address, {
      onHello: (from) => { if (from !== this.#address) this.#answerHello(); },
      onPresence: (from, sealed, live) => this.#receive(() => this.#presence(from, sealed, live)),
      onGone: (from, evidence) => this.#receive(() => this.#gone(from, evidence)),
      onSignal: (from, sealed) => this.#receive(() => this.#signal(from, sealed)),
      onDown: (reason) => this.#events.onStatus(`${carrier.name}: ${reason}; trying again, open connections go on`),
      onUp: () => this.#renew(),
    });
    carrier.hello();
    await new Promise<void>((resolve) => { world.timer(settleMs, resolve); });
    await this.#incoming;
    if (this.#closed) throw new AbortedError('the room was left while joining it');
    if (this.#opened === 0 && this.#strangers.size > 0) {
      await this.close();
      throw wrongKey(room);
    }
    this.#me = { ...me, address: this.#address, order: nextOrder(this.#roster()), protocolVersion };
    await this.#sealMe(this.#me);
    this.#changed();
    this.#expectConfirmation();
  }

  update(change: PresenceChange): void {
    if (!this.#me || this.#closed) return;
    const before = this.#me;
    const order = change.role === 'trainer' && before.role !== 'trainer' ? nextOrder(this.#roster()) : before.order;
    const now = Object.fromEntries(Object.entries({ ...before, ...change, order }).filter(([, value]) => value !== undefined)) as unknown as Presence;
    this.#me = now;
    this.#changed();
    this.#outgoing = this.#outgoing.then(async () => {
      // Several changes in a row are told as the last of them.
      if (this.#me !== now || this.#closed) return;
      await this.#sealMe(now).catch((error: unknown) => this.#events.onStatus(error instanceof Error ? error.message : String(error)));
    });
  }

  async #sealMe(me: Presence): Promise<void> {
    this.#sealedMe = await this.#seal.seal(encodePresence(me), this.#context('presence', this.#address, ''));
    this.#announce();
  }

  signal(to: string, payload: Bytes): void {
    if (this.#closed) return;
    this.#outgoing = this.#outgoing.then(async () => {
      try {
        const sealed = await this.#seal.seal(payload, this.#context('signal', this.#address, to));
        if (!this.#closed) this.#options.carrier.signal(to, sealed);
      } catch (error) {
        this.#events.onStatus(error instanceof Error ? error.message : String(error));
      }
    });
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    this.#cancelConfirm?.();
    for (const entry of this.#entries.values()) entry.cancelGrace?.();
    this.#entries.clear();
    return this.#options.carrier.close();
  }

  #announce(): void {
    // Sealed once: a hello is answered in the same task, so that a newcomer's short listening is not spent on our cipher.
    if (this.#sealedMe && !this.#closed) this.#options.carrier.announce(this.#sealedMe);
  }

  #answerHello(): void {
    if (!this.#sealedMe || this.#closed) return;
    // A burst of hellos gets two answers, at its start and after it: nobody is missed, and nobody can make us shout.
    if (this.#answering !== 'no') { this.#answering = 'again'; return; }
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
    for (const entry of this.#entries.values()) entry.live = false;
    this.#announce();
    this.#options.carrier.hello();
    this.#expectConfirmation();
  }

  #expectConfirmation(): void {
    this.#cancelConfirm?.();
    this.#cancelConfirm = this.#options.world.timer(this.#options.confirmMs ?? 5000, () => {
      this.#newcomer = false;
      let changed = false;
      for (const [address, entry] of this.#entries) {
        if (entry.live) continue;
        this.#drop(address, entry);
        changed = true;
      }
      if (changed) this.#changed();
    });
  }

  /** Runs what arrived in order, because opening a seal is asynchronous. Bounded: a flood is dropped, not stored. */
  #receive(handle: () => Promise<void> | void): void {
    if (this.#waiting >= MAX_WAITING || this.#closed) return;
    this.#waiting++;
    this.#incoming = this.#incoming.then(async () => {
      this.#waiting--;
      if (this.#closed) return;
      try {
        await handle();
      } catch (error) {
        this.#events.onFatal(error instanceof Error ? error : new Error(String(error)));
      }
    });
  }

  async #presence(from: string, sealed: Bytes, live: boolean): Promise<void> {
    if (from === this.#address) return;
    const plain = await this.#unseal(sealed, this.#context('presence', from, ''));
    if (!plain) {
      // A store may still hold the presence of a room of the same name that is long gone; only its owner counts.
      if (live) this.#stranger(from);
      return;
    }
    const presence = decodeOr(() => decodePresence(plain, from));
    if (!presence) return this.#events.onStatus(`a member (${from}) announced itself in a form this page does not understand; reload both pages`);
    this.#opened++;
    const known = this.#entries.get(from);
    if (!known && this.#entries.size >= MAX_MEMBERS) return;
    known?.cancelGrace?.();
    this.#entries.set(from, { presence, live: live || (known?.live ?? false), cancelGrace: undefined });
    if (!known || !samePresence(known.presence, presence)) this.#changed();
  }

  async #signal(from: string, sealed: Bytes): Promise<void> {
    const plain = await this.#unseal(sealed, this.#context('signal', from, this.#address));
    if (plain) this.#events.onSignal(from, plain);
    else this.#stranger(from);
  }

  #gone(from: string, evidence: 'left' | 'lost'): void {
    const entry = this.#entries.get(from);
    if (!entry) return;
    const { world, carrier } = this.#options;
    if (evidence === 'left' || carrier.graceMs === 0) {
      this.#drop(from, entry);
      this.#changed();
      return;
    }
    entry.cancelGrace ??= world.timer(carrier.graceMs, () => {
      if (this.#entries.get(from) !== entry) return;
      this.#drop(from, entry);
      this.#changed();
    });
  }

  #drop(address: string, entry: Entry): void {
    entry.cancelGrace?.();
    this.#entries.delete(address);
  }

  #stranger(from: string): void {
    if (this.#strangers.has(from) || this.#strangers.size >= MAX_MEMBERS) return;
    this.#strangers.add(from);
    if (!this.#me) return;
    // Two tabs that entered an empty room at the same moment with different keys: neither saw the other while it listened.
    if (this.#newcomer && this.#opened === 0) return this.#events.onFatal(wrongKey(this.#options.room));
    this.#events.onStatus(`somebody in this room has a different key and is ignored (${from}); if it is your own tab, open it with this room's link`);
  }

  async #unseal(sealed: Bytes, context: string): Promise<Bytes | undefined> {
    try {
      return await this.#seal.unseal(sealed, context);
    } catch (error) {
      if (error instanceof FormatError) return undefined;
      throw error;
    }
  }

  #context(purpose: 'presence' | 'signal', from: string, to: string): string {
    return `${this.#options.room}/${purpose}/${from}/${to}`;
  }

  #roster(): Presence[] {
    const roster = Array.from(this.#entries.values(), (entry) => entry.presence);
    if (this.#me) roster.push(this.#me);
    return roster.sort(byAge);
  }

  #changed(): void {
    if (this.#me && !this.#closed) this.#events.onPeers(this.#roster());
  }
}

/** The one error of a wrong link. */
export function wrongKey(room: string): RoomError {
  return new RoomError('wrong-key', `the key of room '${room}' is different: its members are here, but this link cannot open what they say; copy the whole link from one of their tabs`);
}

function decodeOr<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

/** The fields stand in the order in which the decoder reads them. */
function samePresence(a: Presence, b: Presence): boolean { return JSON.stringify(a) === JSON.stringify(b); }
