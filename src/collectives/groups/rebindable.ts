// Groups and meshes whose members can be exchanged under those who hold them: a plan, a stage or a trainer is made once
// and goes on with the ranks and links of another view, or with other ranks for each batch. What stays is what may be
// recorded: the size, and the own index where somebody has asked for it (GroupRef.fixedRank). Numbers of operations
// begin anew with what takes the place, on all members alike. Exchange between batches: what is under way ends with the
// group that it began with.

import { AXES, formatLayout } from '../../base/axis.ts';
import { InternalError, LayoutError } from '../../base/errors.ts';
import type { Group, GroupRef } from '../group.ts';
import type { Mesh, Scope } from '../mesh.ts';

export interface RebindableGroup extends Group {
  /**
   * From now on calls go to `group`; undefined where this rank takes no part for now. Throws LayoutError for another
   * size, and after fixedRank for another own index.
   */
  rebind(group: Group | undefined): void;
}

export interface RebindableMesh extends Mesh {
  /**
   * From now on all groups and scopes that were taken of this mesh are those of `mesh`, whose ranks and links may
   * differ. Throws LayoutError for another layout, or where this rank has other coordinates. Give the new one the
   * ledger of the old where bytes are to be counted on, and a recorder of its own.
   */
  rebind(mesh: Mesh): void;
}

/** A group of `size` ranks; without `first` it must be bound before it is used. */
export function rebindableGroup(name: string, size: number, first?: Group): RebindableGroup {
  let now: Group | undefined;
  let fixed: number | undefined;
  const current = (): Group => {
    if (!now) throw new InternalError(`group ${name}: it is used on a rank that is not bound to any; rebind it first`);
    // What has taken the place may be a reference itself.
    return now.current();
  };
  const rebind = (group: Group | undefined): void => {
    if (group && group.size !== size)
      throw new LayoutError(
        `group ${name}: expected ${size} ranks in its place, got the ${group.size} of ${group.name}; record for that size`,
      );
    if (group && fixed !== undefined && group.rank !== fixed)
      throw new LayoutError(
        `group ${name}: expected this rank at index ${fixed}, as it is recorded, got index ${group.rank} of ` +
          `${group.name}; give the ranks in another order`,
      );
    now = group;
  };
  rebind(first);
  return Object.assign(followed({ name, size, current, fixedRank: () => (fixed ??= current().rank) }), { rebind });
}

/** The group that `ref` refers to at each call. */
export function followed(ref: GroupRef): Group {
  return {
    name: ref.name,
    size: ref.size,
    current: () => ref.current(),
    fixedRank: () => ref.fixedRank(),
    get id() {
      return ref.current().id;
    },
    get rank() {
      return ref.current().rank;
    },
    get ranks() {
      return ref.current().ranks;
    },
    begin: (...call) => ref.current().begin(...call),
    beginPoint: (...call) => ref.current().beginPoint(...call),
    numbers: (count) => ref.current().numbers(count),
    accuse: (...call) => ref.current().accuse(...call),
  };
}

export function rebindableMesh(first: Mesh): RebindableMesh {
  const { mesh, rebind } = followedMesh(first);
  return Object.assign(mesh, { rebind });
}

/** A mesh in front of another, and how that is exchanged. */
interface FollowedMesh {
  readonly mesh: Mesh;
  rebind(mesh: Mesh): void;
}

interface FollowedScope extends FollowedMesh {
  /** The one behind it, while it is open. */
  behind: Scope | undefined;
}

function followedMesh(first: Mesh): FollowedMesh {
  // Nothing else of the first: its links would stay as long as this does.
  const { layout, rank, size } = first;
  let now = first;
  const groups = new Map<string, { readonly group: RebindableGroup; find(mesh: Mesh): Group | undefined }>();
  const scopes = new Map<string, FollowedScope>();

  function held(key: string, find: (mesh: Mesh) => Group | undefined): RebindableGroup | undefined {
    const known = groups.get(key);
    if (known) return known.group;
    const found = find(now);
    if (!found) return undefined;
    const group = rebindableGroup(found.name, found.size, found);
    groups.set(key, { group, find });
    return group;
  }

  function rebind(mesh: Mesh): void {
    if (AXES.some((axis) => mesh.layout[axis] !== layout[axis]) || mesh.rank !== rank)
      throw new LayoutError(
        `mesh: expected rank ${rank} of ${formatLayout(layout)} in its place, got rank ${mesh.rank} of ` +
          `${formatLayout(mesh.layout)}; a rank keeps its coordinates`,
      );
    for (const { group, find } of groups.values()) group.rebind(find(mesh));
    for (const [name, scope] of scopes) {
      if (!scope.behind) continue;
      scope.behind.close();
      scope.behind = mesh.scope(name);
      scope.rebind(scope.behind);
    }
    now = mesh;
  }

  function scope(name: string): Scope {
    const behind = now.scope(name);
    const known = scopes.get(name);
    const own: FollowedScope = known ?? { ...followedMesh(behind), behind };
    own.behind = behind;
    own.rebind(behind);
    scopes.set(name, own);
    return Object.assign(own.mesh, {
      close: () => {
        own.behind?.close();
        own.behind = undefined;
      },
    });
  }

  const mesh: Mesh = {
    layout,
    rank,
    size,
    get world() {
      return mesh.group(AXES);
    },
    coordinate: (name) => now.coordinate(name),
    rankAt: (coordinates) => now.rankAt(coordinates),
    axis: (name) => mesh.group([name]),
    group: (axes) => held(AXES.filter((axis) => axes.includes(axis)).join(' x '), (of) => of.group(axes))!,
    subgroup: (ranks) => held(`[${ranks.join(',')}]`, (of) => of.subgroup(ranks)),
    scope,
    abort: (error) => now.abort(error),
    get failed() {
      return now.failed;
    },
  };
  return { mesh, rebind };
}
