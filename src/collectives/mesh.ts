// The device mesh of one rank: its coordinates in the layout, and its groups: along each axis, along several axes
// flattened in the order of AXES, or of any list of ranks. Ranks of the mesh are numbered by the layout (rankOf); links
// may number the same participants otherwise, so that a rank keeps its coordinates when a new view renumbers it.
// All members of a group agree on its id without talking. In the mesh itself the id of axes is their bit mask, else a
// hash of the scope's name and the axes or ranks. Groups of the same axes with other coordinates share an id; two ranks
// have at most one such group in common, so their messages never mix.

import { AXES, formatLayout, worldSize } from '../base/axis.ts';
import type { AxisName, Layout } from '../base/axis.ts';
import { InternalError, LayoutError } from '../base/errors.ts';
import type { PeerError } from '../base/errors.ts';
import type { Link } from '../transport/transport.ts';
import type { Group, Ledger } from './group.ts';
import { GroupIds } from './groups/ids.ts';
import { createGroup } from './link-group.ts';
import type { FlightRecorder } from './record/flight-recorder.ts';
import type { OperationWatch } from './record/operation-watch.ts';
import { relayFailures } from './relay-failures.ts';

export interface Mesh {
  readonly layout: Layout;
  /** Own index in `world`. */
  readonly rank: number;
  readonly size: number;
  /** All ranks, in the order of rankOf. */
  readonly world: Group;
  coordinate(name: AxisName): number;
  /** Rank of the mesh that differs from this one in the named coordinates only. */
  rankAt(coordinates: Partial<Layout>): number;
  axis(name: AxisName): Group;
  /** The ranks that agree with this one on all other axes, ascending; the same object for the same set of axes. */
  group(axes: readonly AxisName[]): Group;
  /**
   * The group of these ranks of the mesh, in this order; the same object for the same list, undefined where this rank
   * is not among them. Throws LayoutError for a rank that does not exist or occurs twice.
   */
  subgroup(ranks: readonly number[]): Group | undefined;
  /**
   * The same ranks with groups of their own, whose numbers nobody else counts: for a trainer, or a stream between
   * pipeline stages. All ranks name it alike. Throws InternalError while another has the name; once that is closed the
   * numbers go on.
   */
  scope(name: string): Scope;
  /** Fails every link with `error` and tells the peers. */
  abort(error: PeerError): void;
  /** Resolves with the first failure of any link; never rejects. */
  readonly failed: Promise<PeerError>;
}

export interface Scope extends Mesh {
  /** Gives the name back. */
  close(): void;
}

export interface MeshOptions {
  readonly layout: Layout;
  /** Own rank as the links number it. */
  readonly rank: number;
  /** The ranks of the links in the order of the mesh's; ascending unless told. */
  readonly ranks?: readonly number[];
  readonly links: ReadonlyMap<number, Link>;
  readonly ledger: Ledger;
  /** Keeps the last operations of all groups. */ readonly recorder?: FlightRecorder;
  /** Ends operations that take too long. */ readonly watch?: OperationWatch;
}

export function createMesh({ layout, rank: self, ranks, links, ledger, recorder, watch }: MeshOptions): Mesh {
  const size = worldSize(layout);
  if (links.size !== size - 1)
    throw new LayoutError(
      `mesh: ${formatLayout(layout)} needs ${size} ranks, but the world has ${links.size + 1}; open or close tabs, or change the layout`,
    );
  const order = ranks ?? Array.from({ length: size }, (_, i) => i);
  if (order.length !== size || new Set(order).size !== size || ![self, ...links.keys()].every((r) => order.includes(r)))
    throw new InternalError(
      `mesh of ${size}: expected the ranks [${[self, ...links.keys()].join(', ')}] in some order, got [${order.join(', ')}]`,
    );
  const relay = relayFailures(links.values());
  return meshOf('', {
    layout,
    rank: order.indexOf(self),
    own: coordinatesOf(order.indexOf(self), layout),
    relay,
    failed:
      links.size > 0 ? Promise.race([...links.values()].map((link) => link.failed)) : new Promise(() => undefined),
    ids: new GroupIds(),
    create: (id, name, members) =>
      createGroup({
        id,
        name,
        ranks: members.map((member) => order[member]!),
        self,
        links,
        ledger,
        relay,
        ...(recorder ? { recorder } : {}),
        ...(watch ? { watch } : {}),
      }),
  });
}

/** What a mesh and all its scopes have in common. */
interface Common {
  readonly layout: Layout;
  readonly rank: number;
  readonly own: Layout;
  readonly relay: (error: PeerError) => void;
  readonly failed: Promise<PeerError>;
  readonly ids: GroupIds;
  /** `members` are ranks of the mesh. */
  create(id: number, name: string, members: readonly number[]): Group;
}

function meshOf(path: string, common: Common, close: () => void = () => undefined): Scope {
  const { layout, rank, own, relay, failed, ids } = common;
  const size = worldSize(layout);
  const prefix = path && `${path}/`;
  const byMask = new Map<number, Group>();
  const byList = new Map<string, Group>();
  const scopes = new Map<string, { readonly scope: Scope; open: boolean }>();

  function group(axes: readonly AxisName[]): Group {
    const mask = AXES.reduce((bits, axis, i) => (axes.includes(axis) ? bits | (1 << i) : bits), 0);
    const known = byMask.get(mask);
    if (known) return known;
    const names = AXES.filter((axis) => axes.includes(axis));
    const name = prefix + (names.length === AXES.length ? 'world' : names.join(' x ') || 'self');
    const made = common.create(path ? ids.of(name) : mask, name, ranksAlong(own, layout, names));
    byMask.set(mask, made);
    return made;
  }

  function subgroup(ranks: readonly number[]): Group | undefined {
    const list = ranks.join(',');
    const exists = (member: number): boolean => Number.isInteger(member) && member >= 0 && member < size;
    if (ranks.length === 0 || new Set(ranks).size !== ranks.length || !ranks.every(exists))
      throw new LayoutError(`subgroup: expected different ranks from 0 to ${size - 1}, got [${list}]`);
    if (!ranks.includes(rank)) return undefined;
    const known = byList.get(list);
    if (known) return known;
    const name = `${prefix}[${list}]`;
    const made = common.create(ids.of(name), name, ranks);
    byList.set(list, made);
    return made;
  }

  return {
    layout,
    rank,
    size,
    get world() {
      return group(AXES);
    },
    coordinate: (name) => own[name],
    rankAt: (coordinates) => rankOf({ ...own, ...coordinates }, layout),
    axis: (name) => group([name]),
    group,
    subgroup,
    scope(name) {
      const inner = prefix + name;
      if (!name || name.includes('/')) throw new InternalError(`scope '${inner}': expected a name without /`);
      const known = scopes.get(name);
      if (known?.open)
        throw new InternalError(
          `scope '${inner}' of the mesh is in use; close it, or take another (each trainer of a mesh needs its own)`,
        );
      const close = (): void => {
        scopes.get(name)!.open = false;
      };
      const scope = known?.scope ?? meshOf(inner, common, close);
      scopes.set(name, { scope, open: true });
      return scope;
    },
    abort: relay,
    failed,
    close,
  };
}

/** Rank of full coordinates: ((((pp * DP) + dp) * SP + sp) * EP + ep) * TP + tp. */
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

/** Ranks of the group of `own` along `axes`, ascending. */
export function ranksAlong(own: Layout, layout: Layout, axes: readonly AxisName[]): number[] {
  const ranks: number[] = [];
  for (let rank = 0; rank < worldSize(layout); rank++) {
    const other = coordinatesOf(rank, layout);
    if (AXES.every((axis) => axes.includes(axis) || other[axis] === own[axis])) ranks.push(rank);
  }
  return ranks;
}
