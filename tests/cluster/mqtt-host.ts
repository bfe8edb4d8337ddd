// An http server with the embedded broker in this process, and clients that know nothing of rooms.

import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { connect } from 'mqtt';
import type { MqttClient } from 'mqtt';
import { attachBroker } from '../../src/server/broker/broker.ts';
import type { Broker, BrokerOptions } from '../../src/server/broker/broker.ts';

/** An http server with a broker, whose sockets a test can kill. */
export class Host {
  readonly sockets = new Map<number, Socket>();
  server: Server | undefined;
  broker: Broker | undefined;
  port = 0;

  async start(options: BrokerOptions = {}): Promise<void> {
    const server = createServer((_, response) => response.end('page'));
    this.server = server;
    server.on('connection', (socket) => {
      this.sockets.set(socket.remotePort ?? 0, socket);
      socket.on('close', () => this.sockets.delete(socket.remotePort ?? 0));
    });
    const broker = (this.broker = await attachBroker(options));
    server.on('upgrade', (request, socket, head: Buffer) => broker.take(request, socket, head));
    await new Promise<void>((listening) => {
      server.listen(this.port, '127.0.0.1', listening);
    });
    this.port = (server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    await this.broker?.close();
    for (const socket of this.sockets.values()) socket.destroy();
    const { server } = this;
    if (server)
      await new Promise<void>((closed) => {
        server.close(() => closed());
      });
    this.server = undefined;
    this.broker = undefined;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/mqtt`;
  }
}

const hosts: Host[] = [];
const clients: MqttClient[] = [];

export async function newHost(options: BrokerOptions = {}): Promise<Host> {
  const host = new Host();
  hosts.push(host);
  await host.start(options);
  return host;
}

export async function stopHosts(): Promise<void> {
  await Promise.all(clients.splice(0).map((client) => client.endAsync(true)));
  await Promise.all(hosts.splice(0).map((host) => host.stop()));
}

export async function rawClient(host: Host, clientId: string, origin?: string): Promise<MqttClient> {
  const client = connect(host.url, {
    clientId,
    protocolVersion: 4,
    reconnectPeriod: 0,
    ...(origin ? { wsOptions: { headers: { origin } } } : {}),
  });
  clients.push(client);
  await new Promise<void>((connected, refused) => {
    client.once('connect', () => connected());
    client.once('close', () => refused(new Error('closed')));
    // The connections that tests provoke to break are watched by their 'close'.
    client.on('error', () => {});
  });
  return client;
}

export const closed = (client: MqttClient): Promise<void> =>
  new Promise((resolve) => {
    client.once('close', () => resolve());
  });
