// The presences that the broker keeps: one of a client, in its room, and no longer than the client is connected. MQTT
// alone would keep a retained message for ever when its client named no Will.

import type { Client } from 'aedes';

export class Presences {
  readonly #maxPerRoom: number;
  readonly #withdraw: (topic: string) => void;
  readonly #owners = new Map<string, Client>();
  readonly #perRoom = new Map<string, number>();
  readonly #of = new WeakMap<Client, { readonly room: string; readonly topic: string }>();

  /** @param withdraw publishes the empty presence that erases a kept one. */
  constructor(maxPerRoom: number, withdraw: (topic: string) => void) {
    this.#maxPerRoom = maxPerRoom;
    this.#withdraw = withdraw;
  }

  get size(): number {
    return this.#owners.size;
  }

  /** Why a presence is not kept; undefined when it is noted as kept or, with `forget`, as withdrawn. */
  refuse(client: Client, room: string, topic: string, forget: boolean): string | undefined {
    const owner = this.#owners.get(topic);
    if (owner !== undefined && owner !== client)
      return 'expected a presence of oneself: another client has this address';
    if (forget) {
      this.#drop(client);
      return undefined;
    }
    if (owner === client) return undefined;
    const here = this.#perRoom.get(room) ?? 0;
    if (here >= this.#maxPerRoom) return `expected at most ${this.#maxPerRoom} members of a room`;
    this.#owners.set(topic, client);
    this.#perRoom.set(room, here + 1);
    this.#of.set(client, { room, topic });
    return undefined;
  }

  /** After a client has gone, its Will included: what it left behind is withdrawn. */
  forget(client: Client): void {
    const topic = this.#drop(client);
    if (topic !== undefined) this.#withdraw(topic);
  }

  #drop(client: Client): string | undefined {
    const kept = this.#of.get(client);
    if (kept === undefined) return undefined;
    this.#of.delete(client);
    this.#owners.delete(kept.topic);
    const left = this.#perRoom.get(kept.room)! - 1;
    if (left === 0) this.#perRoom.delete(kept.room);
    else this.#perRoom.set(kept.room, left);
    return kept.topic;
  }
}
