// A UDP relay in this process between real tabs: each tab is told, instead of the other's candidates, of a port here
// that stands for the other, so every packet of their connection passes a RelayPath per direction. The tabs' own
// addresses are learnt from their packets, so mDNS names need no resolving. DTLS runs from tab to tab: the relay can
// lose and delay, not read or forge.

import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { once } from 'node:events';
import { realWorld } from '../../src/base/world.ts';
import { CLEAR, RelayPath } from './udp-relay-path.ts';
import type { PathRules } from './udp-relay-path.ts';

/** What a tab signals, as src/cluster/messages.ts has it. */
export type Signal =
  | { readonly type: 'offer' | 'answer'; readonly sdp: string }
  | {
      readonly type: 'candidate';
      readonly candidate: {
        readonly candidate: string;
        readonly sdpMid: string | null;
        readonly sdpMLineIndex: number | null;
      };
    };

/** One direction: the socket that stands for the sender, as the receiver sees it. */
interface Direction {
  readonly path: RelayPath;
  readonly socket: Socket;
  receiver: RemoteInfo | undefined;
  told: boolean;
}

export class UdpRelay {
  readonly #directions = new Map<string, Direction>();
  readonly #address: string;

  private constructor(address: string) {
    this.#address = address;
  }

  /** Both directions between each pair of `size` tabs, whose numbers are those of `signal`. */
  static async open(size: number, seed: number, address = '127.0.0.1'): Promise<UdpRelay> {
    const relay = new UdpRelay(address);
    for (let from = 0; from < size; from++)
      for (let to = 0; to < size; to++) if (from !== to) await relay.#add(from, to, seed * 10_007 + from * 101 + to);
    return relay;
  }

  path(from: number, to: number): RelayPath {
    return this.#direction(from, to).path;
  }

  /** Sets rules for the directions that `which` chooses; by default all. */
  rule(rules: Partial<PathRules>, which: (from: number, to: number) => boolean = () => true): void {
    for (const [key, { path }] of this.#directions) {
      const [from, to] = key.split(' ').map(Number) as [number, number];
      if (which(from, to)) path.rules = { ...path.rules, ...rules };
    }
  }

  /**
   * The signal that `to` is to hear instead of `from`'s; undefined for none: `to` learns one address of `from`, ours.
   */
  signal(from: number, to: number, signal: Signal): Signal | undefined {
    if (signal.type !== 'candidate')
      return { ...signal, sdp: signal.sdp.replace(/^a=(candidate|end-of-candidates).*\r?\n/gm, '') };
    const direction = this.#direction(from, to);
    if (direction.told || !/ udp .* typ host/i.test(signal.candidate.candidate)) return undefined;
    direction.told = true;
    const words = signal.candidate.candidate.split(' ');
    [words[4], words[5]] = [this.#address, String(direction.socket.address().port)];
    return { ...signal, candidate: { ...signal.candidate, candidate: words.join(' ') } };
  }

  async close(): Promise<void> {
    await Promise.all(
      [...this.#directions.values()].map(({ path, socket }) => {
        path.close();
        return new Promise<void>((resolve) => {
          socket.close(() => resolve());
        });
      }),
    );
  }

  #direction(from: number, to: number): Direction {
    const direction = this.#directions.get(`${from} ${to}`);
    if (!direction) throw new Error(`the relay knows no way from ${from} to ${to}`);
    return direction;
  }

  async #add(from: number, to: number, seed: number): Promise<void> {
    const socket = createSocket('udp4');
    socket.bind(0, this.#address);
    await once(socket, 'listening');
    socket.setRecvBufferSize(1024 * 1024);
    const path = new RelayPath(seed, realWorld, (packet) => {
      const { receiver } = direction;
      // Before its first packet nobody knows where the receiver is; ICE tries again.
      if (receiver) socket.send(packet, receiver.port, receiver.address);
    });
    path.rules = CLEAR;
    const direction: Direction = { path, socket, receiver: undefined, told: false };
    this.#directions.set(`${from} ${to}`, direction);
    // What arrives here comes from `to`, meant for `from`: it travels the other direction.
    socket.on('message', (packet, sender) => {
      direction.receiver = sender;
      this.path(to, from).send(packet);
    });
    // A tab that is gone answers with ICMP; to a network that is nothing.
    socket.on('error', () => undefined);
  }
}
