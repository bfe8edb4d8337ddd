// The device mesh of one rank: its coordinates in the layout, and the groups along each axis or along several axes
// flattened in the order of AXES. A group's id is the bit mask of its axes, so that all members agree without talking;
// a dedicated group's id is a hash of its name. Groups of the same axes with other coordinates share an id; two ranks
// have at most one such group in common, so their messages never mix.

import { AXES, formatLayout, worldSize } from '../base/axis.ts';
import type { AxisName, Layout } from '../base/axis.ts';
import { InternalError, LayoutError } from '../base/errors.ts';
import type { PeerError } from '../base/errors.ts';
import type { Link } from '../transport/transport.ts';
import type { Group, Ledger } from './group.ts';
import { createGroup } from './link-group.ts';
import type { FlightRecorder } from './record/flight-recorder.ts';
import type { OperationWatch } from './record/operation-watch.ts';
import { relayFailures } from './relay-failures.ts';

export interface Mesh {
  readonly layout: Layout;
  /** World rank. */
  readonly rank: number;
  readonly size: number;
  readonly world: Group;
  coordinate(name: AxisName): number;
  /** World rank of the member that differs from this one in the named coordinates only. */
  rankAt(coordinates: Partial<Layout>): number;
  axis(name: AxisName): Group;
  /**
   * The ranks that agree with this one on all other axes, ordered by world rank; the same object for the same set of
   * axes.
   */
  group(axes: readonly AxisName[]): Group;
  /** A group with sequence numbers of its own, for point-to-point streams. A name can be used once. */
  dedicated(name: string, axes: readonly AxisName[]): Group;
  /** Fails every link with `error` and tells the peers. */
  abort(error: PeerError): void;
  /** Resolves with the first failure of any link; never rejects. */
  readonly failed: Promise<PeerError>;
}

export interface MeshOptions {
  readonly layout: Layout;
  readonly rank: number;
  readonly links: ReadonlyMap<number, Link>;
  readonly ledger: Ledger;
  /** Keeps the last operations of all groups. */ readonly recorder?: FlightRecorder;
  /** Ends operations that take too long. */ readonly watch?: OperationWatch;
}

export function createMesh({ layout, rank, links, ledger, recorder, watch }: MeshOptions): Mesh {
  const size = worldSize(layout);
  if (links.size !== size - 1)
    throw new LayoutError(
      `mesh: ${formatLayout(layout)} needs ${size} ranks, but the world has ${links.size + 1}; open or close tabs, or change the layout`,
    );
  if (rank < 0 || rank >= size) throw new InternalError(`rank ${rank} of a mesh of ${size}`);
  const own = coordinatesOf(rank, layout);
  const relay = relayFailures(links.values());
  const byMask = new Map<number, Group>();
  const dedicatedIds = new Map<number, string>();

  function create(id: number, name: string, axes: readonly AxisName[]): Group {
    return createGroup({
      id,
      name,
      ranks: ranksAlong(own, layout, axes),
      self: rank,
      links,
      ledger,
      relay,
      ...(recorder ? { recorder } : {}),
      ...(watch ? { watch } : {}),
    });
  }

  function group(axes: readonly AxisName[]): Group {
    const mask = AXES.reduce((bits, axis, i) => (axes.includes(axis) ? bits | (1 << i) : bits), 0);
    const known = byMask.get(mask);
    if (known) return known;
    const names = AXES.filter((axis) => axes.includes(axis));
    const made = create(mask, names.length === AXES.length ? 'world' : names.join(' x ') || 'self', names);
    byMask.set(mask, made);
    return made;
  }

  return {
    layout,
    rank,
    size,
    world: group(AXES),
    coordinate: (name) => own[name],
    rankAt: (coordinates) => rankOf({ ...own, ...coordinates }, layout),
    axis: (name) => group([name]),
    group,
    dedicated(name, axes) {
      const id = hash(name);
      const taken = dedicatedIds.get(id);
      if (taken !== undefined)
        throw new InternalError(
          `group '${name}' ${taken === name ? 'exists already' : `has the same hash as '${taken}'`}; choose another name`,
        );
      dedicatedIds.set(id, name);
      return create(id, name, axes);
    },
    abort: relay,
    failed:
      links.size > 0 ? Promise.race([...links.values()].map((link) => link.failed)) : new Promise(() => undefined),
  };
}

/** World rank of full coordinates: ((((pp * DP) + dp) * SP + sp) * EP + ep) * TP + tp. */
export function rankOf(coordinates: Layout, layout: Layout): number {
  let rank = 0;
  for (const axis of AXES) {
    const at = coordinates[axis];
    if (at < 0 || at >= layout[axis])
      throw new InternalError(`coordinate ${axis} = ${at} of a mesh with ${axis} = ${layout[axis]}`);
    rank = rank * layout[axis] + at;
  }
  return rank;
}

export function coordinatesOf(rank: number, layout: Layout): Layout {
  const coordinates: Record<AxisName, number> = { pp: 0, dp: 0, sp: 0, ep: 0, tp: 0 };
  let rest = rank;
  for (const axis of AXES.toReversed()) {
    coordinates[axis] = rest % layout[axis];
    rest = Math.floor(rest / layout[axis]);
  }
  return coordinates;
}

/** World ranks of the group of `own` along `axes`, ascending. */
export function ranksAlong(own: Layout, layout: Layout, axes: readonly AxisName[]): number[] {
  const ranks: number[] = [];
  for (let rank = 0; rank < worldSize(layout); rank++) {
    const other = coordinatesOf(rank, layout);
    if (AXES.every((axis) => axes.includes(axis) || other[axis] === own[axis])) ranks.push(rank);
  }
  return ranks;
}

/** FNV-1a with the top bit set: apart from the axis masks, which are below 32. */
function hash(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return (h | 0x80000000) >>> 0;
}
