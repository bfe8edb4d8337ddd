// The libraries that tabmesh's links are compared with, in order of the tables. Each is loaded when it is first asked
// for.

import type { PeerLibrary } from './peer.ts';
import { peerjs } from './peerjs.ts';
import { simplePeer } from './simple-peer.ts';
import { trystero } from './trystero.ts';

export const PEER_LIBRARIES: readonly PeerLibrary[] = [simplePeer, peerjs, trystero];
