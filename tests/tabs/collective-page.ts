// A tab for failures.tabs.test.ts: joins `size` tabs over WebRTC with signals that pass through the test, hands the
// channels to a worker, and tells what happens there.
// collective-page.html?rank=0&size=3&leave=1   leave: say good-bye when the page goes away, as docs/collectives.md
// tells pages to

import { NO_ICE } from '../../src/cluster/ice/servers.ts';
import type { IceSignal } from '../../src/cluster/messages.ts';
import { createWebRtcConnections } from '../../src/cluster/webrtc-connections.ts';
import { realWorld } from '../../src/base/world.ts';
import type { CollectiveReport, Order, Program } from './collective-program.ts';

const query = new URLSearchParams(location.search);
const [rank, size] = [Number(query.get('rank')), Number(query.get('size'))];

declare global {
  interface Window {
    collectiveSignal(text: string): Promise<void>;
    collectiveReport(text: string): Promise<void>;
    tab: { connect(): void; hear(from: number, signal: IceSignal): void; run(program: Program): void };
  }
}

const tell = (report: CollectiveReport): void => {
  void window.collectiveReport(JSON.stringify(report));
};
const worker = new Worker(new URL('./collective-worker.ts', import.meta.url), { type: 'module' });
worker.addEventListener('message', ({ data }: MessageEvent<CollectiveReport>) => tell(data));
worker.addEventListener('error', (event) =>
  tell({ kind: 'error', message: event.message || 'the worker did not load' }),
);

const open = new Set<number>();
const connections = createWebRtcConnections({
  rank,
  ice: () => NO_ICE,
  now: () => realWorld.now(),
  adopt: (peer, { control, bulk }) => {
    // In the task that made them, or they cannot be transferred.
    worker.postMessage({ kind: 'adopt', peer, control, bulk } satisfies Order, [
      control as unknown as Transferable,
      bulk as unknown as Transferable,
    ]);
    return new Promise((resolve) => {
      worker.addEventListener('message', ({ data }: MessageEvent<{ kind: string; peer?: number }>) => {
        if (data.kind === 'opened' && data.peer === peer) resolve();
      });
    });
  },
  onLink: (peer, link) => {
    if (link.state === 'failed' && open.size < size - 1)
      tell({ kind: 'error', message: `the connection to ${peer} failed: ${link.reason}` });
    if (link.state === 'open' && open.add(peer).size === size - 1) tell({ kind: 'open' });
  },
  onSignal: (peer, _attempt, data) => {
    void window.collectiveSignal(JSON.stringify({ to: peer, signal: data }));
  },
});

window.tab = {
  connect() {
    for (let peer = 0; peer < size; peer++) if (peer !== rank) connections.connect({ peer, attempt: 1 });
  },
  hear: (from, signal) => connections.signal(from, 1, signal),
  run: (program) => worker.postMessage({ kind: 'run', rank, program } satisfies Order),
};
if (query.get('leave') === '1') {
  addEventListener('pagehide', () => {
    // First, so that the worker takes the ends of its channels for our own doing and blames nobody.
    worker.postMessage({ kind: 'leave' } satisfies Order);
    // A message to a worker may come too late in a closing page; this goes out at once.
    connections.close();
  });
  // As src/app/training/main.ts waits.
  addEventListener('pagehide', () => {
    for (const until = performance.now() + 50; performance.now() < until;);
  });
}
