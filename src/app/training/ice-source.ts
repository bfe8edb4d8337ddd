// The STUN and TURN servers of this page's connections: those of the link, and those that the page's own server lends
// at /ice (`tabmesh serve --turn`). Lent credentials are good for a time; they are asked for anew before a connection
// once half of it is over. A server that lends nothing is no error.

import type { World } from '../../base/world.ts';
import { decodeLentIce } from '../../cluster/ice/servers.ts';
import type { IceConfig } from '../../cluster/ice/servers.ts';

export interface IceSourceOptions {
  readonly world: World;
  /** Of the link. */
  readonly own: IceConfig;
  /** Address of the page; anything but http and https has no server to ask. */
  readonly page: string;
  readonly fetch: typeof globalThis.fetch;
}

const ASK_MS = 3000;
/** A server that lends nothing is asked again after this. */
const ASK_AGAIN_SECONDS = 60;

export class IceSource {
  readonly #options: IceSourceOptions;
  #lent: readonly RTCIceServer[] = [];
  #freshUntilMs = -Infinity;

  constructor(options: IceSourceOptions) {
    this.#options = options;
  }

  /** For a connection that begins now. */
  current(): IceConfig {
    const { own } = this.#options;
    return { iceServers: [...own.iceServers, ...this.#lent], relayOnly: own.relayOnly };
  }

  /** Asks the server if what it lent is not fresh any more. Never rejects. */
  async refresh(): Promise<void> {
    const { world, page, fetch } = this.#options;
    if (!/^https?:/.test(page) || world.now() < this.#freshUntilMs) return;
    const abort = new AbortController();
    const cancel = world.timer(ASK_MS, () => abort.abort());
    try {
      const response = await fetch(new URL('ice', page).href, {
        signal: abort.signal,
        cache: 'no-store',
        credentials: 'omit',
      });
      // Another server may answer any address with its page, and ours may say that it was asked too often: what we have
      // stays.
      if (response.ok && response.headers.get('content-type')?.includes('json')) {
        const { iceServers, ttlSeconds } = decodeLentIce(await response.text());
        this.#lent = iceServers;
        this.#freshUntilMs = world.now() + (ttlSeconds > 0 ? ttlSeconds / 2 : ASK_AGAIN_SECONDS) * 1000;
      }
    } catch {
      // No server, no network, or an answer that is none: connections go on with the servers of the link.
    } finally {
      cancel();
    }
  }
}
