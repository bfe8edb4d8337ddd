// Carries a room over an MQTT broker (WebSocket): the embedded one, mosquitto, or a cluster of brokers. Topics, all
// under `tabmesh/<room>/`:
// p/<address>     retained presence; the Last-Will is the empty retained payload, so the broker itself cleans the
// roster of a crashed tab
//   s/<to>/<from>   signals, QoS 1
// ctl             `hello?<address>?` and a sealed hello asks everybody to announce again (brokers without retained
// wildcards), `bye?<address>?` and a
//                   sealed bye says a clean farewell; who speaks is in what is sealed, so that the broker need not know
// The surprising rule: a presence topic is named after the join (address), not after the tab (id): the Will of an older
// join never erases a newer one. MQTT 3.1.1 has no Will delay, so a lost member has a grace to come back. mqtt.js is
// loaded when needed. Source: OASIS MQTT 3.1.1, sections 3.1.2.5, 3.3.1.3.

import type { IClientOptions, MqttClient } from 'mqtt';
import { ConfigError, RoomError } from '../base/errors.ts';
import type { World } from '../base/world.ts';
import { joinBytes } from './identity/keys.ts';
import { isAddress } from './presence.ts';
import type { Carrier, CarrierHandlers } from './rendezvous.ts';
import type { Bytes } from './seal.ts';

export interface MqttOptions {
  readonly world: World;
  /** ws:// or wss://, the path included. */
  readonly url: string;
  readonly username?: string;
  readonly password?: string;
  /** How long the first connection may take, in as many attempts as fit; 30 s by default: a busy machine takes long. */
  readonly connectTimeoutMs?: number;
  readonly graceMs?: number;
  readonly keepaliveSeconds?: number;
  readonly reconnectMs?: number;
}

const CONNECT_MS = 30_000;
const ATTEMPT_MS = 10_000;

export function mqttCarrier(options: MqttOptions): Carrier {
  return new MqttCarrier(options);
}

/** An address as others may read it: what stands before its host is a name and a password. */
function withoutPassword(url: string): string {
  return url.replace(/^(\w+:\/\/)[^/?#]*@/, '$1');
}

class MqttCarrier implements Carrier {
  readonly name: string;
  readonly graceMs: number;
  readonly #options: MqttOptions;
  #client: MqttClient | undefined;
  #prefix = '';
  #address = '';
  #closed = false;

  constructor(options: MqttOptions) {
    this.#options = options;
    this.name = `broker ${withoutPassword(options.url)}`;
    this.graceMs = options.graceMs ?? 3000;
  }

  async open(room: string, address: string, handlers: CarrierHandlers): Promise<void> {
    const { url } = this.#options;
    if (!/^wss?:\/\//i.test(url) || !URL.canParse(url))
      throw new ConfigError('broker', `expected an address ws://... or wss://..., got '${withoutPassword(url)}'`);
    this.#prefix = `tabmesh/${room}`;
    this.#address = address;
    // The browser bundle has nothing but a default export.
    const { connect } = (await import('mqtt')).default;
    const { username, password, keepaliveSeconds = 10, reconnectMs = 1000 } = this.#options;
    const settings: IClientOptions = {
      // 23 letters and digits: more a broker need not accept (MQTT 3.1.1, 3.1.3.1).
      clientId: `tabmesh${address}`,
      clean: true,
      protocolVersion: 4,
      keepalive: keepaliveSeconds,
      reconnectPeriod: reconnectMs,
      connectTimeout: ATTEMPT_MS,
      // mqtt.js would keep its clock in a worker made of text, which pages may forbid; without the clock, brokers end
      // the connection.
      timerVariant: 'native',
      // Signals of a dead minute would only confuse: what cannot be sent now is sent by the next retry of the layers
      // above.
      queueQoSZero: false,
      resubscribe: false,
      will: { topic: `${this.#prefix}/p/${address}`, payload: new Uint8Array(0) as never, qos: 1, retain: true },
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      // mqtt.js would put an address of IPv6 together without its brackets.
      transformWsUrl: () => withoutPassword(url),
    };
    const client = this.#refusable(() =>
      connect(
        url.replace(/^wss?:/i, (scheme) => scheme.toLowerCase()),
        settings,
      ),
    );
    this.#client = client;
    client.on('message', (topic, payload, packet) => this.#message(topic, payload, packet.retain, handlers));
    await this.#firstConnection(client);
    this.#keepConnected(client, handlers);
  }

  hello(sealed: Bytes): void {
    this.#call('hello', sealed);
  }

  announce(sealed: Bytes): void {
    this.#publish(`p/${this.#address}`, sealed, true);
  }

  signal(to: string, sealed: Bytes): void {
    this.#publish(`s/${to}/${this.#address}`, sealed);
  }

  /** The broker tells of every client that is gone, by its Will. */
  watch(): void {}
  unwatch(): void {}

  #call(verb: 'hello' | 'bye', sealed: Bytes): void {
    this.#publish('ctl', joinBytes([new TextEncoder().encode(`${verb}?${this.#address}?`), sealed]));
  }

  async close(bye?: Bytes): Promise<void> {
    if (this.#closed) return;
    const connected = this.#client?.connected ?? false;
    if (connected) {
      if (bye) this.#call('bye', bye);
      this.#publish(`p/${this.#address}`, '', true);
    }
    this.#closed = true;
    // Waits for the acknowledgements of what was just published, unless nobody is there to send them.
    await this.#client?.endAsync(!connected);
  }

  #publish(topic: string, payload: Bytes | string, retain = false): void {
    if (this.#closed || !this.#client?.connected) return;
    // mqtt.js wants Buffer in its types; any Uint8Array works on the wire.
    this.#client.publish(`${this.#prefix}/${topic}`, payload as never, { qos: 1, retain }, () => {
      // A failed publish means a lost connection, which 'close' reports.
    });
  }

  /** Browsers refuse some addresses before they connect: a page of https opens no ws://. */
  #refusable(open: () => MqttClient): MqttClient {
    try {
      return open();
    } catch (error) {
      const url = withoutPassword(this.#options.url);
      const insecure = error instanceof DOMException && error.name === 'SecurityError';
      throw new RoomError(
        'broker',
        insecure
          ? `this page came over https, and browsers let it open only brokers of wss://, not ${url}; put a certificate before that broker, or use tabs of one browser`
          : `the broker at ${url} cannot be opened (${reasonOf(error)}); correct its address`,
        { cause: error },
      );
    }
  }

  async #firstConnection(client: MqttClient): Promise<void> {
    const { world, connectTimeoutMs = CONNECT_MS } = this.#options;
    const url = withoutPassword(this.#options.url);
    let lastReason = '';
    try {
      await new Promise<void>((connected, refused) => {
        const cancel = world.timer(connectTimeoutMs, () =>
          refused(
            new RoomError(
              'broker',
              `expected an MQTT broker at ${url}, none answered within ${connectTimeoutMs} ms${lastReason ? ` (${lastReason})` : ''}; start one with \`tabmesh serve\`, or use tabs of one browser`,
            ),
          ),
        );
        client.on('error', (error) => {
          lastReason = reasonOf(error);
        });
        client.once('connect', () => {
          this.#subscribe(client).then(
            () => {
              cancel();
              connected();
            },
            (error: unknown) => {
              cancel();
              refused(
                new RoomError(
                  'broker',
                  `the broker at ${url} refused the topics of this room (${reasonOf(error)}); allow tabmesh/#`,
                  { cause: error },
                ),
              );
            },
          );
        });
      });
    } catch (error) {
      this.#closed = true;
      await client.endAsync(true);
      throw error;
    }
  }

  #keepConnected(client: MqttClient, handlers: CarrierHandlers): void {
    let down = false;
    let lastReason = '';
    client.on('error', (error) => {
      lastReason = reasonOf(error);
    });
    client.on('close', () => {
      if (down || this.#closed) return;
      down = true;
      handlers.onDown(`the broker is gone${lastReason ? ` (${lastReason})` : ''}`);
    });
    client.on('connect', () => {
      this.#subscribe(client).then(
        () => {
          down = false;
          lastReason = '';
          handlers.onUp();
        },
        (error: unknown) => {
          lastReason = reasonOf(error);
        },
      );
    });
  }

  async #subscribe(client: MqttClient): Promise<void> {
    await client.subscribeAsync(
      [`${this.#prefix}/p/+`, `${this.#prefix}/s/${this.#address}/+`, `${this.#prefix}/ctl`],
      { qos: 1 },
    );
  }

  #message(topic: string, payload: Uint8Array, retained: boolean, handlers: CarrierHandlers): void {
    if (this.#closed || !topic.startsWith(`${this.#prefix}/`)) return;
    const [kind, first, second] = topic.slice(this.#prefix.length + 1).split('/');
    const bytes = new Uint8Array(payload);
    if (kind === 'p' && isAddress(first) && first !== this.#address) {
      if (bytes.byteLength === 0) handlers.onGone(first, 'said');
      else handlers.onPresence(first, bytes, !retained);
    } else if (kind === 's' && first === this.#address && isAddress(second)) handlers.onSignal(second, bytes);
    else if (kind === 'ctl') {
      const [, verb, from] =
        /^(hello|bye)\?([0-9a-f]{16})\?/.exec(new TextDecoder().decode(bytes.subarray(0, 32))) ?? [];
      if (!verb || !isAddress(from) || from === this.#address) return;
      const sealed = bytes.slice(verb.length + from.length + 2);
      if (verb === 'hello') handlers.onHello(from, sealed);
      else handlers.onBye(from, sealed);
    }
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Node's connection errors carry a code and often no message.
  return error.message || (error as { code?: string }).code || error.name;
}
