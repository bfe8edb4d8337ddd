// GET /ice of `tabmesh serve`: the STUN and TURN servers of a page, the latter with credentials made for this answer ({
// iceServers, expires, ttl }; expires in Unix seconds, ttl in seconds, so that a page with a wrong clock can tell).
// Without servers the list is empty, which is no error. Each address may ask so many times a minute, and nothing is
// kept by caches or written to a log. Who may ask at all is decided before (host-rule.ts).

import type { IncomingMessage, ServerResponse } from 'node:http';
import { randomBytes } from 'node:crypto';
import { addressOf } from '../address.ts';
import { TokenBuckets } from '../token-bucket.ts';
import { mintTurnCredentials } from './credentials.ts';

export interface IceLender {
  readonly stun: readonly string[];
  readonly turn?: { readonly urls: readonly string[]; readonly secret: string; readonly ttlSeconds: number };
}

export interface EndpointOptions {
  /** Unix time in milliseconds. */
  readonly now?: () => number;
  /**
   * Answers that one address may have at once, and how many it gets back each minute: a class of 40 people may share
   * one, each with some tabs that are reloaded.
   */
  readonly burst?: number;
  readonly perMinute?: number;
}

export function createIceEndpoint(
  lender: IceLender,
  { now = Date.now, burst = 240, perMinute = 120 }: EndpointOptions = {},
): (request: IncomingMessage, response: ServerResponse) => void {
  const allowances = new TokenBuckets(burst, perMinute / 60);
  return (request, response) => {
    response.setHeader('cache-control', 'no-store');
    const refuse = (status: number, headers: Readonly<Record<string, string>> = {}): void => {
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      response.statusCode = status;
      response.end();
    };
    if (request.method !== 'GET') return refuse(405, { allow: 'GET' });
    if (!allowances.take(addressOf(request), now()))
      return refuse(429, { 'retry-after': String(Math.ceil(60 / perMinute)) });
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(lend(lender, now())));
  };
}

function lend({ stun, turn }: IceLender, nowMs: number): unknown {
  const servers = stun.length > 0 ? [{ urls: stun }] : [];
  if (!turn) return { iceServers: servers, expires: 0, ttl: 0 };
  const expires = Math.floor(nowMs / 1000) + turn.ttlSeconds;
  // A label of its own for each answer: quotas of the TURN server count by user name.
  return {
    iceServers: [
      ...servers,
      { urls: turn.urls, ...mintTurnCredentials(turn.secret, randomBytes(6).toString('hex'), expires) },
    ],
    expires,
    ttl: turn.ttlSeconds,
  };
}
