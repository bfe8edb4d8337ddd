// The web sockets of the broker: how many there may be, in all and of one address, and how much each may send.

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';
import { addressOf } from '../address.ts';
import { endUpgrade } from '../front.ts';
import { TokenBucket } from '../token-bucket.ts';
import { PacketGauge } from './packet-gauge.ts';

export interface SocketLimits {
  readonly maxClients: number;
  readonly maxPerAddress: number;
  readonly maxPayloadBytes: number;
  readonly publishesPerSecond: number;
  readonly publishBurst: number;
}

export interface SocketFront {
  /** Takes an upgrade over; who may ask has been decided. */
  take(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Ends all web sockets at once. */
  close(): void;
}

/** MQTT's fixed header, topic and packet id, or a Will, on top of a payload. */
const PACKET_OVERHEAD_BYTES = 512;
/** Of everything that a client sends; at once it may send as much as its messages at once can hold. */
const BYTES_PER_SECOND = 512 * 1024;
const PUBACK = 4;
const PUBLISH = 3;

/** `serve` gets the stream of every web socket that was let in. */
export function socketFront(
  { maxClients, maxPerAddress, maxPayloadBytes, publishesPerSecond, publishBurst }: SocketLimits,
  serve: (stream: Duplex, request: IncomingMessage) => void,
): SocketFront {
  const perAddress = new Map<string, number>();
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: maxPayloadBytes + PACKET_OVERHEAD_BYTES,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has('mqtt') ? 'mqtt' : false),
  });
  // Without a listener ws answers for itself, without the headers of our other answers.
  sockets.on('wsClientError', (error: Error, socket: Duplex, request: IncomingMessage) => {
    const wrongMethod = request.method !== 'GET';
    endUpgrade(socket, wrongMethod ? 405 : 400, `expected a web socket of version 13: ${error.message}`, {
      ...(wrongMethod ? { allow: 'GET' } : { 'sec-websocket-version': '13, 8' }),
    });
  });
  const welcome = (webSocket: WebSocket, request: IncomingMessage): void => {
    const bytes = new TokenBucket(
      publishBurst * (maxPayloadBytes + PACKET_OVERHEAD_BYTES),
      BYTES_PER_SECOND,
      performance.now(),
    );
    const packets = new TokenBucket(publishBurst, publishesPerSecond, performance.now());
    let flooded = false;
    // Publishes are counted with their topic; acknowledgements are as many as others have said.
    const gauge = new PacketGauge(maxPayloadBytes + PACKET_OVERHEAD_BYTES, (kind) => {
      if (kind !== PUBACK && kind !== PUBLISH && !packets.take(1, performance.now())) flooded = true;
    });
    // Before the stream listens: at most one message of what is refused gets parsed.
    webSocket.on('message', (data: Buffer) => {
      if (gauge.take(data) !== undefined || flooded || !bytes.take(data.length, performance.now()))
        webSocket.terminate();
    });
    const stream = createWebSocketStream(webSocket);
    stream.on('error', () => stream.destroy());
    serve(stream, request);
  };

  return {
    take(request, socket, head) {
      const address = addressOf(request);
      const here = perAddress.get(address) ?? 0;
      if (sockets.clients.size >= maxClients) return endUpgrade(socket, 503, `expected at most ${maxClients} clients`);
      if (here >= maxPerAddress)
        return endUpgrade(socket, 503, `expected at most ${maxPerAddress} clients of one address`);
      perAddress.set(address, here + 1);
      socket.once('close', () => {
        const left = perAddress.get(address)! - 1;
        if (left === 0) perAddress.delete(address);
        else perAddress.set(address, left);
      });
      sockets.handleUpgrade(request, socket, head, (webSocket) => welcome(webSocket, request));
    },
    close() {
      for (const webSocket of sockets.clients) webSocket.terminate();
    },
  };
}
