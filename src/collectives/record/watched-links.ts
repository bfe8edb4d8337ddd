// The links of one rank with what watches over them: its flight recorder, the deadline of its operations, and the chain
// of who waits for whom. A rank that takes its time on purpose tells in its heartbeats that it waits for itself; the
// deadlines of the others excuse it.

import type { PeerError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import { createLink } from '../../transport/link.ts';
import type { LinkOptions } from '../../transport/link.ts';
import type { Lanes, Link } from '../../transport/transport.ts';
import { createFlightRecorder } from './flight-recorder.ts';
import type { FlightRecorder } from './flight-recorder.ts';
import { createOperationWatch, culpritOf } from './operation-watch.ts';
import type { OperationWatch } from './operation-watch.ts';

export interface WatchedLinksOptions extends Omit<
  LinkOptions,
  'lanes' | 'path' | 'peer' | 'self' | 'waitsFor' | 'blame' | 'worldSize'
> {
  readonly rank: number;
  /** By the peer's rank. */
  readonly lanes: ReadonlyMap<number, Lanes>;
  readonly world: World;
  /** How the packets to each peer travel, if somebody knows it: LinkOptions.path by the peer's rank. */
  readonly paths?: Readonly<Record<number, LinkOptions['path']>>;
  /** Longest that one operation may take; Infinity for no limit. */
  readonly operationMs: number;
  readonly expired: (error: PeerError) => void;
}

export interface WatchedLinks {
  readonly links: ReadonlyMap<number, Link>;
  readonly recorder: FlightRecorder;
  readonly watch: OperationWatch;
  /** While true, this rank takes its time and nobody's operations expire because of it. */
  hold(on: boolean): void;
  /** The same while `work` runs, whatever is held around it or begins to be held meanwhile. */
  holdDuring<T>(work: Promise<T>): Promise<T>;
}

export function createWatchedLinks({
  rank,
  lanes,
  world,
  paths = {},
  operationMs,
  expired,
  ...common
}: WatchedLinksOptions): WatchedLinks {
  const links = new Map<number, Link>();
  let held = false;
  let busy = 0;
  const toldBy = (peer: number): number | undefined => links.get(peer)?.stats.peerWaitsFor;
  const blame = (peer: number): number => culpritOf(peer, rank, toldBy);
  const watch = createOperationWatch({
    world,
    self: rank,
    operationMs,
    blame,
    excused: (peer) => toldBy(peer) === peer,
    expired,
  });
  const waitsFor = (): number | undefined => (held || busy > 0 ? rank : watch.waitsFor());
  for (const [peer, pair] of lanes)
    links.set(
      peer,
      createLink({
        ...common,
        worldSize: lanes.size + 1,
        path: paths[peer],
        lanes: pair,
        peer,
        self: rank,
        world,
        waitsFor,
        blame,
      }),
    );
  return {
    links,
    recorder: createFlightRecorder(rank, world),
    watch,
    hold(on) {
      held = on;
    },
    holdDuring(work) {
      busy++;
      return work.finally(() => {
        busy--;
      });
    },
  };
}
