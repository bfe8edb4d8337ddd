// The embedded MQTT broker: aedes on the WebSocket path /mqtt of an existing http server (Vite's dev and preview server, `tabmesh serve`). It carries only
// signalling (sealed, at most 16 KiB) and forgets everything when it stops. It is not a general broker: a client may publish only `tabmesh/<room>/...` topics,
// retain only its own presence, and subscribe only inside one named room at a time per filter, so that nobody lists rooms or squats on a presence.
// The surprising rule: a WebSocket upgrade of another path or of the subprotocol `vite-hmr` is left alone, because Vite shares the server.

import type { IncomingMessage, Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { Aedes } from 'aedes';
import type { Client } from 'aedes';
import { createWebSocketStream, WebSocketServer } from 'ws';

/** The part of an http server in use; Vite's http2 server has it too. */
export type UpgradableServer = Pick<Server | TlsServer, 'on' | 'off' | 'listenerCount'>;

export interface BrokerOptions {
  readonly path?: string;
  /** Origins of pages that may connect besides those served from the same host; '*' allows all. */
  readonly allowOrigins?: readonly string[] | '*';
  readonly maxClients?: number;
  readonly maxPayloadBytes?: number;
  readonly maxTopicsPerClient?: number;
  /** Publishes per second that a client may sustain, and how many it may send at once. */
  readonly publishesPerSecond?: number;
  readonly publishBurst?: number;
}

export interface Broker {
  /** Clients connected now. */
  readonly clients: number;
  /** Closes all clients; the http server stays. */
  close(): Promise<void>;
}

/** MQTT's fixed header, topic and packet id on top of a payload. */
const PACKET_OVERHEAD_BYTES = 512;

/** Resolves when the broker takes connections. */
export async function attachBroker(server: UpgradableServer, options: BrokerOptions = {}): Promise<Broker> {
  const path = options.path ?? '/mqtt';
  const maxClients = options.maxClients ?? 256;
  const maxPayloadBytes = options.maxPayloadBytes ?? 16 * 1024;
  const allowance = new Allowance(options.publishesPerSecond ?? 100, options.publishBurst ?? 600, options.maxTopicsPerClient ?? 16);

  const broker = await Aedes.createBroker({
    concurrency: 100, queueLimit: 1000, maxClientsIdLength: 64, maxTopicLevels: 8, connectTimeout: 10_000,
    preConnect: (client, _packet, done) => done(broker.connectedClients < maxClients ? null : new Error(`more than ${maxClients} clients`), broker.connectedClients < maxClients),
    authorizePublish: (client, packet, done) => {
      // The Last-Will of a client that was closed for talking too much must still go out.
      const will = packet.retain && packet.payload.length === 0;
      done(refusePublish(client, packet, maxPayloadBytes) ?? (will || !client ? null : allowance.refusePublish(client)));
    },
    authorizeSubscribe: (client, subscription, done) => {
      const refusal = refuseFilter(subscription.topic) ?? allowance.refuseSubscribe(client, subscription.topic);
      // A refused filter (return code 128) rather than a closed connection: the client can say why it failed.
      done(null, refusal ? null : subscription);
    },
  });
  // A client's protocol error ends that client; aedes has closed it by the time it reports it.
  broker.on('clientError', () => {});
  broker.on('connectionError', () => {});

  const sockets = new WebSocketServer({ noServer: true, maxPayload: maxPayloadBytes + PACKET_OVERHEAD_BYTES, handleProtocols: (offered) => (offered.has('mqtt') ? 'mqtt' : false) });
  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    if (new URL(request.url ?? '/', 'http://host').pathname !== path || request.headers['sec-websocket-protocol'] === 'vite-hmr') {
      // With no other listener nobody would ever answer.
      if (server.listenerCount('upgrade') === 1) socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n');
      return;
    }
    if (!originAllowed(request, options.allowOrigins ?? [])) {
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const stream = createWebSocketStream(webSocket);
      stream.on('error', () => stream.destroy());
      broker.handle(stream, request);
    });
  };
  server.on('upgrade', upgrade);

  return {
    get clients() { return broker.connectedClients; },
    async close() {
      server.off('upgrade', upgrade);
      for (const webSocket of sockets.clients) webSocket.terminate();
      await new Promise<void>((closed) => { broker.close(closed); });
    },
  };
}

/** A page of the host that serves the broker, an allowed origin, or a client that is no page. */
function originAllowed(request: IncomingMessage, allowed: readonly string[] | '*'): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined || allowed === '*') return true;
  return allowed.includes(origin) || (URL.canParse(origin) && new URL(origin).host === host);
}

const ROOM_TOPIC = /^tabmesh\/[A-Za-z0-9_-]{1,64}\/(ctl|p\/([0-9a-f]{16})|s\/[0-9a-f]{16}\/([0-9a-f]{16}))$/;

function refusePublish(client: Client | null, packet: { topic: string; payload: string | Buffer; retain?: boolean }, maxPayloadBytes: number): Error | null {
  if (packet.payload.length > maxPayloadBytes) return new Error(`expected at most ${maxPayloadBytes} bytes, got ${packet.payload.length}`);
  const match = ROOM_TOPIC.exec(packet.topic);
  if (!match) return new Error(`expected a topic of a room, got '${packet.topic.slice(0, 100)}'`);
  const speaker = match[2] ?? match[3];
  if (speaker !== undefined && client?.id !== `tabmesh-${speaker}`) return new Error('expected to speak for oneself');
  if (packet.retain && match[2] === undefined) return new Error('expected to retain nothing but a presence');
  return null;
}

function refuseFilter(filter: string): Error | null {
  return /^tabmesh\/[A-Za-z0-9_-]{1,64}\/(ctl|p\/\+|s\/[0-9a-f]{16}\/\+)$/.test(filter) ? null : new Error(`expected a filter inside one room, got '${filter.slice(0, 100)}'`);
}

/** A token bucket and a topic count for each client; forgotten with the client. */
class Allowance {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #maxTopics: number;
  readonly #clients = new WeakMap<Client, { tokens: number; at: number; topics: Set<string> }>();

  constructor(perSecond: number, burst: number, maxTopics: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#maxTopics = maxTopics;
  }

  refusePublish(client: Client): Error | null {
    const account = this.#account(client);
    const now = performance.now();
    account.tokens = Math.min(this.#burst, account.tokens + ((now - account.at) / 1000) * this.#perSecond);
    account.at = now;
    if (account.tokens < 1) return new Error(`expected at most ${this.#perSecond} messages a second`);
    account.tokens--;
    return null;
  }

  refuseSubscribe(client: Client, topic: string): Error | null {
    const { topics } = this.#account(client);
    topics.add(topic);
    return topics.size <= this.#maxTopics ? null : new Error(`expected at most ${this.#maxTopics} topics`);
  }

  #account(client: Client): { tokens: number; at: number; topics: Set<string> } {
    let account = this.#clients.get(client);
    if (!account) {
      account = { tokens: this.#burst, at: performance.now(), topics: new Set() };
      this.#clients.set(client, account);
    }
    return account;
  }
}
