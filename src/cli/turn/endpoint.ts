// GET /ice of `tabmesh serve`: the STUN and TURN servers of a page, the latter with credentials made for this answer ({ iceServers, expires, ttl }; expires in
// Unix seconds, ttl in seconds, so that a page with a wrong clock can tell). Without servers the list is empty, which is no error. Only pages of this very server
// may ask, each address so many times a minute, and nothing is kept by caches or written to a log.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { randomBytes } from 'node:crypto';
import { mintTurnCredentials } from './credentials.ts';

export interface IceLender {
  readonly stun: readonly string[];
  readonly turn?: { readonly urls: readonly string[]; readonly secret: string; readonly ttlSeconds: number };
}

export interface EndpointOptions {
  /** Unix time in milliseconds. */
  readonly now?: () => number;
  /** Answers that one address may have at once, and how many it gets back each minute. */
  readonly burst?: number;
  readonly perMinute?: number;
}

type Next = () => void;

/** Forgets the longest unseen addresses beyond this: a flood of addresses must not fill memory. */
const MAX_ADDRESSES = 10_000;

/** A handler in the manner of connect: it answers /ice and passes everything else on. */
export function createIceEndpoint(lender: IceLender, { now = Date.now, burst = 20, perMinute = 10 }: EndpointOptions = {}): (request: IncomingMessage, response: ServerResponse, next: Next) => void {
  const cap = new Cap(burst, perMinute);
  return (request, response, next) => {
    if (request.url?.split('?')[0] !== '/ice') return next();
    response.setHeader('cache-control', 'no-store');
    response.setHeader('x-content-type-options', 'nosniff');
    const refuse = (status: number, headers: Readonly<Record<string, string>> = {}): void => {
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      response.statusCode = status;
      response.end();
    };
    if (request.method !== 'GET') return refuse(405, { allow: 'GET' });
    // Browsers tell who asks; pages of other sites could not read the answer, and need not cause one.
    const site = request.headers['sec-fetch-site'];
    if (site !== undefined && site !== 'same-origin' && site !== 'none') return refuse(403);
    if (!cap.take(addressOf(request), now())) return refuse(429, { 'retry-after': String(Math.ceil(60 / perMinute)) });
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(lend(lender, now())));
  };
}

function lend({ stun, turn }: IceLender, nowMs: number): unknown {
  const servers = stun.length > 0 ? [{ urls: stun }] : [];
  if (!turn) return { iceServers: servers, expires: 0, ttl: 0 };
  const expires = Math.floor(nowMs / 1000) + turn.ttlSeconds;
  // A label of its own for each answer: quotas of the TURN server count by user name.
  return { iceServers: [...servers, { urls: turn.urls, ...mintTurnCredentials(turn.secret, randomBytes(6).toString('hex'), expires) }], expires, ttl: turn.ttlSeconds };
}

/** Whose allowance counts. A proxy on this machine is believed about whom it speaks for: the last address is the one that it saw itself. */
function addressOf(request: IncomingMessage): string {
  const direct = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  const forwarded = request.headers['x-forwarded-for'];
  if (forwarded === undefined || !(direct === '::1' || direct.startsWith('127.'))) return direct;
  return String(forwarded).split(',').at(-1)!.trim().slice(0, 64);
}

/** A token bucket for each address. */
class Cap {
  readonly #burst: number;
  readonly #perMinute: number;
  readonly #known = new Map<string, { tokens: number; atMs: number }>();

  constructor(burst: number, perMinute: number) {
    this.#burst = burst;
    this.#perMinute = perMinute;
  }

  take(address: string, nowMs: number): boolean {
    const { tokens, atMs } = this.#known.get(address) ?? { tokens: this.#burst, atMs: nowMs };
    const filled = Math.min(this.#burst, tokens + (Math.max(0, nowMs - atMs) / 60_000) * this.#perMinute);
    // Deleted and set again, so that the map is in order of last use.
    this.#known.delete(address);
    this.#known.set(address, { tokens: filled >= 1 ? filled - 1 : filled, atMs: nowMs });
    if (this.#known.size > MAX_ADDRESSES) this.#known.delete(this.#known.keys().next().value!);
    return filled >= 1;
  }
}
