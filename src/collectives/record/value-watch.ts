// Where the first NaN or infinity of a rank came from: made here, or heard from a peer. Looks at the bits of every f32
// that crosses the groups of a mesh (what leaves, what arrives), which costs a few percent of moving it, and only
// remembers; whether it matters is the caller's decision. Bits, because arithmetic on NaN may be optimised away.

import { firstNonFinite } from '../../base/finite.ts';
import type { TypedArray } from '../../base/shape.ts';
import type { Group, Operation } from '../group.ts';
import type { Mesh } from '../mesh.ts';
import { followed } from '../groups/rebindable.ts';

/** Orders that the caller gives to the stretches of a step: what is caused by another stretch has a higher one. */
export interface FirstValue {
  readonly order: number;
  /** World rank of the peer that it came from; absent where it was made here. */
  readonly from?: number;
}

export class ValueWatch {
  /** Of the stretch that begins. */
  order = 0;
  #first: (FirstValue & { readonly what: string }) | undefined;

  get first(): FirstValue | undefined {
    return (
      this.#first && { order: this.#first.order, ...(this.#first.from === undefined ? {} : { from: this.#first.from }) }
    );
  }

  /** What it was, for people; undefined while everything is finite. */
  get what(): string | undefined {
    return this.#first?.what;
  }

  reset(): void {
    this.order = 0;
    this.#first = undefined;
  }

  /** Remembers the first of all calls. */
  found(what: string, from?: number): void {
    this.#first ??= { order: this.order, what, ...(from === undefined ? {} : { from }) };
  }

  check(data: ArrayBufferView, what: string, from?: number): void {
    if (this.#first || !(data instanceof Float32Array)) return;
    const at = firstNonFinite(data);
    if (at >= 0) this.found(`${what} (element ${at} of ${data.length} is ${data[at]})`, from);
  }
}

/** The same mesh; what crosses its groups is seen by `watch`. */
export function watchValues(mesh: Mesh, watch: ValueWatch): Mesh {
  const known = new Map<Group, Group>();
  const seen = (group: Group): Group => {
    const wrapped = known.get(group) ?? watchedGroup(group, watch);
    known.set(group, wrapped);
    return wrapped;
  };
  // What is behind the mesh may change, so nothing of it is copied.
  return {
    layout: mesh.layout,
    rank: mesh.rank,
    size: mesh.size,
    get world() {
      return seen(mesh.world);
    },
    coordinate: (name) => mesh.coordinate(name),
    rankAt: (coordinates) => mesh.rankAt(coordinates),
    axis: (name) => seen(mesh.axis(name)),
    group: (axes) => seen(mesh.group(axes)),
    subgroup: (ranks) => {
      const group = mesh.subgroup(ranks);
      return group && seen(group);
    },
    scope: (name) => {
      const scope = mesh.scope(name);
      return Object.assign(watchValues(scope, watch), { close: () => scope.close() });
    },
    abort: (error) => mesh.abort(error),
    get failed() {
      return mesh.failed;
    },
  };
}

function watchedGroup(group: Group, watch: ValueWatch): Group {
  const known = new WeakMap<Group, Group>();
  return followed({
    name: group.name,
    size: group.size,
    fixedRank: () => group.fixedRank(),
    current: () => {
      const behind = group.current();
      const wrapped = known.get(behind) ?? wrap(behind, watch);
      known.set(behind, wrapped);
      return wrapped;
    },
  });
}

function wrap(group: Group, watch: ValueWatch): Group {
  const operation = (inner: Operation): Operation => {
    // The same piece goes to several members one after the other.
    let last: TypedArray | undefined;
    const arrived = (data: TypedArray, from: number): void =>
      watch.check(data, `what came for ${inner.kind} in group ${group.name} was not finite`, group.ranks[from]);
    return {
      ...inner,
      send(to, chunk, data) {
        const again =
          last?.buffer === data.buffer && last.byteOffset === data.byteOffset && last.length === data.length;
        last = data;
        if (!again) watch.check(data, `what it sent for ${inner.kind} in group ${group.name} was not finite`);
        return inner.send(to, chunk, data);
      },
      async recv(from, chunk, out) {
        await inner.recv(from, chunk, out);
        arrived(out, from);
      },
      post(from, chunk, out) {
        const take = inner.post(from, chunk, out);
        // Looked at when it is taken: it belongs to the stretch that needs it.
        return async () => {
          await take();
          arrived(out, from);
        };
      },
      async recvUpTo(from, chunk, dtype, maxCount) {
        const data = await inner.recvUpTo(from, chunk, dtype, maxCount);
        arrived(data, from);
        return data;
      },
    };
  };
  return {
    ...group,
    begin: (kind, seq) => operation(group.begin(kind, seq)),
    beginPoint: (kind, peer, direction) => operation(group.beginPoint(kind, peer, direction)),
  };
}
