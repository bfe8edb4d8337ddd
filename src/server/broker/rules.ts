// What a client of the broker may say and hear. A client belongs to one room, the first that it names, by its Will or
// by a topic; it may speak only for the address in its id (`tabmesh` and 16 hexadecimal digits), keep nothing but its
// own presence there, and hear the room's members, its own signals and the room's calls.

import type { Client } from 'aedes';

export interface BrokerPublish {
  readonly topic: string;
  readonly payload: string | Buffer;
  readonly retain?: boolean;
  readonly qos?: number;
}

/** 1: room, 2: address of a presence, 3: sender of a signal. */
const TOPIC = /^tabmesh\/([A-Za-z0-9_-]{1,64})\/(?:ctl|p\/([0-9a-f]{16})|s\/[0-9a-f]{16}\/([0-9a-f]{16}))$/;
/** 1: room, 2: whose signals. */
const FILTER = /^tabmesh\/([A-Za-z0-9_-]{1,64})\/(?:ctl|p\/\+|s\/([0-9a-f]{16})\/\+)$/;

/**
 * The address for which a client speaks; undefined for a client that may only listen and call. Pages of before 2026-12
 * put a dash into their id.
 */
export function addressIn(clientId: string): string | undefined {
  return /^tabmesh-?([0-9a-f]{16})$/.exec(clientId)?.[1];
}

export class RoomRules {
  readonly #rooms = new WeakMap<Client, string>();

  /** The room of a client, once it has named one. */
  roomOf(client: Client): string | undefined {
    return this.#rooms.get(client);
  }

  refusePublish(client: Client, packet: BrokerPublish, maxPayloadBytes: number): string | undefined {
    if (packet.payload.length > maxPayloadBytes)
      return `expected at most ${maxPayloadBytes} bytes, got ${packet.payload.length}`;
    const [, room, presence, sender] = TOPIC.exec(packet.topic) ?? [];
    if (room === undefined) return 'expected a topic of a room';
    if (packet.qos === 2) return 'expected quality of service 0 or 1';
    const speaker = presence ?? sender;
    if (speaker !== undefined && addressIn(client.id) !== speaker) return 'expected to speak for oneself';
    if (packet.retain && presence === undefined) return 'expected to retain nothing but a presence';
    return this.#refuseRoom(client, room);
  }

  refuseFilter(client: Client, filter: string): string | undefined {
    const [, room, listener] = FILTER.exec(filter) ?? [];
    if (room === undefined) return 'expected a filter inside one room';
    if (listener !== undefined && addressIn(client.id) !== listener) return 'expected to hear signals for oneself only';
    return this.#refuseRoom(client, room);
  }

  #refuseRoom(client: Client, room: string): string | undefined {
    const own = this.#rooms.get(client);
    if (own === undefined) this.#rooms.set(client, room);
    return own === undefined || own === room
      ? undefined
      : `expected topics of room ${own} only: a client belongs to one room`;
  }
}
