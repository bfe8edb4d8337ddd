// The embedded MQTT broker: aedes behind web sockets. It carries only signalling (sealed, at most 16 KiB a message) and
// forgets everything when it stops, and all of a client when that is gone: its presence, its session, its
// subscriptions. It is no general broker: rules.ts says what a client may say, sockets.ts how many come in and how much
// they send. All that a client can make it hold is bounded, for each client, for each address, for each room and in
// all.

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { Aedes } from 'aedes';
import type { Client } from 'aedes';
import { TokenBucket } from '../token-bucket.ts';
import { Presences } from './presences.ts';
import { addressIn, RoomRules } from './rules.ts';
import { socketFront } from './sockets.ts';

export interface BrokerOptions {
  /** Web sockets in all, and of one address (behind a proxy that tells them apart: of one machine). */
  readonly maxClients?: number;
  readonly maxPerAddress?: number;
  readonly maxPresencesPerRoom?: number;
  readonly maxPayloadBytes?: number;
  /** Messages per second that a client may sustain, and how many it may send at once. */
  readonly publishesPerSecond?: number;
  readonly publishBurst?: number;
  /** How long a web socket may take to become a client. */
  readonly connectMs?: number;
}

export interface Broker {
  /** Clients connected now. */
  readonly clients: number;
  /** Presences kept now. */
  readonly presences: number;
  /** Takes an upgrade over; who may ask has been decided. */
  take(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Closes all clients. */
  close(): Promise<void>;
}

/** A client that does not read holds up who speaks to it, and what it has not read is kept here. */
const DRAIN_MS = 10_000;
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;
/** Longer would keep the presence of a tab that is gone. */
const MAX_KEEPALIVE_SECONDS = 120;
const MAX_TOPICS = 16;

/** Resolves when the broker can take connections. */
export async function attachBroker(options: BrokerOptions = {}): Promise<Broker> {
  const {
    maxClients = 1024,
    maxPerAddress = 128,
    maxPresencesPerRoom = 256,
    maxPayloadBytes = 16 * 1024,
    publishesPerSecond = 100,
    publishBurst = 600,
    connectMs = 10_000,
  } = options;
  const rules = new RoomRules();
  const topics = new WeakMap<Client, Set<string>>();
  const speech = new WeakMap<Client, TokenBucket>();
  const presences = new Presences(maxPresencesPerRoom, (topic) =>
    broker.publish(
      { cmd: 'publish', topic, payload: Buffer.alloc(0), qos: 1, retain: true, dup: false },
      () => undefined,
    ),
  );

  const refusePublish = (client: Client, packet: Parameters<RoomRules['refusePublish']>[1]): string | undefined => {
    const refusal = rules.refusePublish(client, packet, maxPayloadBytes);
    if (refusal !== undefined) return refusal;
    const forget = packet.retain === true && packet.payload.length === 0;
    // A farewell must go out even of a client that was closed for talking too much.
    if (!forget) {
      let bucket = speech.get(client);
      if (!bucket) speech.set(client, (bucket = new TokenBucket(publishBurst, publishesPerSecond, performance.now())));
      if (!bucket.take(1, performance.now())) return `expected at most ${publishesPerSecond} messages a second`;
    }
    return packet.retain ? presences.refuse(client, rules.roomOf(client)!, packet.topic, forget) : undefined;
  };

  const broker = await Aedes.createBroker({
    // No limit on messages under way at once: one client that does not read must not hold up the others.
    concurrency: 0,
    queueLimit: 100,
    maxClientsIdLength: 64,
    maxTopicLevels: 8,
    connectTimeout: connectMs,
    drainTimeout: DRAIN_MS,
    maxInflightInbound: 16,
    preConnect: (client, packet, done) => {
      // No session outlives its connection: nothing is kept for a client that is not there.
      packet.clean = true;
      packet.keepalive = Math.min(packet.keepalive || MAX_KEEPALIVE_SECONDS, MAX_KEEPALIVE_SECONDS);
      const refusal = refuseConnect(packet.clientId, packet.will);
      done(refusal === undefined ? null : new Error(refusal), refusal === undefined);
    },
    authorizePublish: (client, packet, done) => {
      const refusal = client === null ? undefined : refusePublish(client, packet);
      done(refusal === undefined ? null : new Error(refusal));
    },
    authorizeForward: (client, packet) => {
      if ((client.conn as Duplex).writableLength <= MAX_UNREAD_BYTES) return packet;
      client.conn.destroy();
      return null;
    },
    authorizeSubscribe: (client, subscription, done) => {
      const own = topics.get(client) ?? new Set();
      topics.set(client, own.add(subscription.topic));
      const refusal =
        own.size > MAX_TOPICS
          ? `expected at most ${MAX_TOPICS} topics`
          : rules.refuseFilter(client, subscription.topic);
      // A refused filter (return code 128) rather than a closed connection: the client can say why it failed.
      done(null, refusal === undefined ? subscription : null);
    },
  });
  broker.on('clientDisconnect', (client) => presences.forget(client));
  // A client's protocol error ends that client; aedes has closed it by the time it reports it.
  broker.on('clientError', () => {});
  broker.on('connectionError', () => {});

  const front = socketFront(
    { maxClients, maxPerAddress, maxPayloadBytes, publishesPerSecond, publishBurst },
    (stream, request) => broker.handle(stream, request),
  );
  return {
    get clients() {
      return broker.connectedClients;
    },
    get presences() {
      return presences.size;
    },
    take: front.take,
    async close() {
      front.close();
      await new Promise<void>((closed) => {
        broker.close(closed);
      });
    },
  };
}

/** A Will may only withdraw the presence of the client itself. */
function refuseConnect(
  clientId: string,
  will: { readonly topic: string; readonly payload: string | Buffer; readonly retain?: boolean } | undefined,
): string | undefined {
  if (will === undefined) return undefined;
  const own = addressIn(clientId);
  return own !== undefined &&
    will.payload.length === 0 &&
    will.retain === true &&
    /^tabmesh\/[A-Za-z0-9_-]{1,64}\/p\//.test(will.topic) &&
    will.topic.endsWith(`/p/${own}`)
    ? undefined
    : 'expected a Will that withdraws the own presence';
}
