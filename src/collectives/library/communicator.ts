// A Communicator is one rank's end of a set of linked ranks: the Group of all of them, further groups, and one end for
// all. It is what the connect functions give. Whatever happens to a peer, every operation ends: with its result, or
// with a PeerError that names the culprit; and then everything fails with that error, on all ranks. After a failure or
// a leave nothing is left: no timer, no listener, no buffer. Connect anew, with the ranks that are left and a higher
// `view`.

import { ConfigError, LayoutError, PeerError } from '../../base/errors.ts';
import { realWorld } from '../../base/world.ts';
import type { World } from '../../base/world.ts';
import type { Lanes, Link } from '../../transport/transport.ts';
import { GroupIds } from '../groups/ids.ts';
import type { Group } from '../group.ts';
import { createLedger } from '../ledger.ts';
import type { LedgerBook } from '../ledger.ts';
import { createGroup } from '../link-group.ts';
import type { FlightDump } from '../record/flight-recorder.ts';
import { checkNested } from '../record/operation-watch.ts';
import type { Deadlines } from '../record/operation-watch.ts';
import { createWatchedLinks } from '../record/watched-links.ts';
import { relayFailures } from '../relay-failures.ts';

export const DEFAULT_DEADLINES: Deadlines = { silentMs: 6000, receiveMs: 15_000, operationMs: 60_000 };

export interface ConnectOptions {
  /**
   * Waits, each at least twice the one inside it. Raise receiveMs and operationMs, or set them to Infinity, where ranks
   * may call at very different times.
   */
  readonly deadlines?: Partial<Deadlines>;
  /**
   * Names the run, and its membership epoch, which must rise whenever ranks connect anew. Frames of another run or view
   * are dropped.
   */
  readonly run?: number;
  readonly view?: number;
  /**
   * Time in ms that the tuner of each link may take before the first data, if both ends allow it; 0, the default,
   * leaves frames at 64 KiB and windows at 256 KiB.
   */
  readonly tuneMs?: number;
  /**
   * By the peer's rank, how the packets travel where you know it: host, srflx, prflx or relay. For the report of the
   * links. Data channels made here know it themselves.
   */
  readonly paths?: Readonly<Record<number, string | (() => string | undefined) | undefined>>;
  /** Clock, timers and randomness; the real ones unless told. */
  readonly world?: World;
}

/** As a Group it is all ranks: pass it to any collective. */
export interface Communicator extends Group {
  /**
   * The group of these ranks, in this order, with sequence numbers of its own; undefined when this rank is not among
   * them. All its members must make their groups of one list in the same order. Needs no exchange. Throws LayoutError
   * for a rank that does not exist or occurs twice.
   */
  subgroup(ranks: readonly number[]): Group | undefined;
  /** Resolves with the first failure; never rejects, and stays pending for ever after a leave in good order. */
  readonly failed: Promise<PeerError>;
  /** Fails everything on all ranks with `error`. Local: it waits for nobody. */
  abort(error: PeerError): void;
  /** Says good-bye: what was sent is delivered; peers that still need this rank fail with evidence 'left'. */
  leave(): void;
  /** Bytes sent, by receiver, kind and group. */
  readonly ledger: LedgerBook;
  readonly links: ReadonlyMap<number, Link>;
  /** The last 1,000 operations: as they stood at the failure, or now. */
  flightRecord(): FlightDump;
}

/**
 * `lanes` by the peer's rank: all ranks 0 ... lanes.size but this one. Throws ConfigError for deadlines that do not
 * nest, LayoutError for ranks that do not fit.
 */
export function createCommunicator(
  rank: number,
  lanes: ReadonlyMap<number, Lanes>,
  options: ConnectOptions = {},
): Communicator {
  const { run = 1, view = 1, world = realWorld, tuneMs = 0, paths } = options;
  const deadlines = { ...DEFAULT_DEADLINES, ...options.deadlines };
  checkNested(deadlines);
  if (!(deadlines.silentMs >= 100))
    throw new ConfigError('silentMs', `expected at least 100, got ${deadlines.silentMs}`);
  const ranks = Array.from({ length: lanes.size + 1 }, (_, i) => i);
  for (const expected of ranks)
    if (expected === rank ? lanes.has(rank) : !lanes.has(expected))
      throw new LayoutError(
        `rank ${rank} of ${ranks.length}: expected lanes to ranks 0 to ${lanes.size} but ${rank}, got [${[...lanes.keys()].join(', ')}]`,
      );
  if (!ranks.includes(rank)) throw new LayoutError(`rank ${rank} of ${ranks.length}`);

  const ledger = createLedger();
  const { silentMs, receiveMs, operationMs } = deadlines;
  const { links, recorder, watch } = createWatchedLinks({
    rank,
    lanes,
    paths,
    run,
    view,
    world,
    silentMs,
    tuneMs,
    heartbeatMs: Math.min(1000, silentMs / 6),
    deadlineMs: receiveMs,
    operationMs,
    expired: (error) => fail(error),
  });
  const relay = relayFailures(links.values());

  let frozen: FlightDump | undefined;
  let left = false;
  let resolveFailed!: (error: PeerError) => void;
  const failed = new Promise<PeerError>((resolve) => {
    resolveFailed = resolve;
  });

  function fail(error: PeerError): void {
    if (frozen || left) return;
    frozen = recorder.dump(error.message);
    watch.stop();
    relay(error);
    resolveFailed(error);
  }
  for (const link of links.values())
    void link.failed.then((error) => {
      if (error.evidence !== 'left') fail(error);
    });

  const groupOf = (id: number, name: string, members: readonly number[]): Group =>
    createGroup({ id, name, ranks: members, self: rank, links, ledger, relay: fail, recorder, watch });
  const made = new Map<string, number>();
  const ids = new GroupIds();

  return {
    ...groupOf(0, 'world', ranks),
    subgroup(members) {
      if (new Set(members).size !== members.length || !members.every((member) => ranks.includes(member)))
        throw new LayoutError(
          `subgroup: expected different ranks from 0 to ${lanes.size}, got [${members.join(', ')}]`,
        );
      const list = members.join(',');
      const copy = made.get(list) ?? 0;
      made.set(list, copy + 1);
      if (!members.includes(rank)) return undefined;
      const name = `[${list}]${copy === 0 ? '' : ` ${copy + 1}`}`;
      return groupOf(ids.of(name), name, members);
    },
    failed,
    ledger,
    links,
    abort: fail,
    leave() {
      left = true;
      watch.stop();
      for (const link of links.values()) link.leave();
    },
    flightRecord: () => frozen ?? recorder.dump('still running'),
  };
}
