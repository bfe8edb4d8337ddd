// What moves the bytes of a room between its tabs: BroadcastChannel, a broker, or both.

import type { Bytes } from '../seal.ts';

/** Moves bytes between the addresses of one room. Knows no keys. */
export interface Carrier {
  /** For people: 'tabs of this browser', 'broker ws://...'. */
  readonly name: string;
  /**
   * How long a member of whom it is only said that it is gone may take to show itself, before it is taken off the
   * roster.
   */
  readonly graceMs: number;
  /** Resolves when everything sent to `address` or to the whole room arrives. Rejects with RoomError. Called once. */
  open(room: string, address: string, handlers: CarrierHandlers): Promise<void>;
  /** Asks everybody to announce themselves. */
  hello(sealed: Bytes): void;
  announce(sealed: Bytes): void;
  signal(to: string, sealed: Bytes): void;
  /**
   * `onGone` should tell when this address dies. Only of addresses that are known to live: what anybody could make up
   * is not watched.
   */
  watch(address: string): void;
  unwatch(address: string): void;
  /**
   * Says `bye`, withdraws the presence and closes; what must go out goes out synchronously, so that it works in a
   * closing page.
   */
  close(bye?: Bytes): Promise<void>;
}

export interface CarrierHandlers {
  onHello(from: string, sealed: Bytes): void;
  /** `live`: announced just now, not read from a store. */
  onPresence(from: string, sealed: Bytes, live: boolean): void;
  onBye(from: string, sealed: Bytes): void;
  /** The address is gone for certain, or only somebody says so. */
  onGone(from: string, evidence: 'certain' | 'said'): void;
  onSignal(from: string, sealed: Bytes): void;
  onDown(reason: string): void;
  /** The carrier works again after onDown. */
  onUp(): void;
}
