// What tabs of one browser can do for each other: hear at once that one is gone, by Web Locks, and meet for the fast lane, by a SharedWorker that makes ports for two
// tabs, or, where there is none, by BroadcastChannel.

import { realWorld } from '../base/world.ts';
import type { Mesh, MeshOptions } from '../cluster/mesh.ts';
import { createPeerMesh } from '../cluster/peer-mesh.ts';
import { createSameBrowserMesh } from '../cluster/same-browser.ts';
import type { Met } from '../cluster/same-browser.ts';
import { createWitnessedMesh } from '../cluster/witness.ts';
import { holdTabLock, isTabLockHeld } from '../transport/tab-lock.ts';
import type { Introduction, Wish } from '../../workers/introduce.ts';

/** A maker of meshes whose peers' tabs are watched where they are of this browser. `watch` tells the worker. */
export function witnessed(watch: (peer: number, lock: string) => void, make: (options: MeshOptions) => Mesh): (options: MeshOptions) => Mesh {
  return (options) => createWitnessedMesh(options, { holdLock: holdTabLock, isHeld: isTabLockHeld, watch }, make);
}

/** A maker of meshes that try the fast lane first. `adopt` hands what was met to the worker. */
export function sameBrowserMesh(adopt: (peer: number, met: Met) => Promise<void>): (options: MeshOptions) => Mesh {
  const meet = typeof SharedWorker === 'undefined' ? meetByChannel : meetByWorker();
  return (options) => createSameBrowserMesh(options, { world: realWorld, meet, adopt, fallback: createPeerMesh });
}

/** A meeting gives ports that the SharedWorker made. */
export function meetByWorker(): (name: string, signal: AbortSignal) => Promise<Met> {
  const { port } = new SharedWorker(new URL('../../workers/introduce.ts', import.meta.url), { type: 'module', name: 'tabmesh introductions' });
  const waiting = new Map<string, (met: Met) => void>();
  port.onmessage = ({ data: { meet, ports: [talk, control, bulk] } }: MessageEvent<Introduction>) => {
    const taken = waiting.get(meet);
    waiting.delete(meet);
    if (taken) taken({ kind: 'ports', talk, control, bulk });
    else for (const end of [talk, control, bulk]) end.close();
  };
  const say = (wish: Wish): void => port.postMessage(wish);
  return (name, signal) => new Promise((resolve) => {
    waiting.set(name, resolve);
    signal.addEventListener('abort', () => { if (waiting.delete(name)) say({ meet: name, leave: true }); });
    say({ meet: name });
  });
}

/** Both are there when they have greeted; the data then has a channel of its own. */
function meetByChannel(name: string): Promise<Met> {
  return Promise.resolve({ kind: 'broadcast', name: `tabmesh lane ${name} data`, talk: new BroadcastChannel(`tabmesh lane ${name}`) });
}
