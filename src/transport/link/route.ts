// How the packets of a link travel, for its report.

import type { LinkRoute } from '../transport.ts';

/** From what the wire is made of (`kind`), or the ICE candidate that the page knows (`path`). */
export function routeOf(kind: string, path: string | undefined): LinkRoute {
  if (path === 'relay') return 'relayed';
  if (path === 'host' || path === 'srflx' || path === 'prflx') return 'direct';
  return kind === 'same browser' || kind === 'message-port' || kind === 'broadcast-channel'
    ? 'same browser'
    : 'unknown';
}
