// A Group over links: numbers the operations, tags their messages, enters them in the ledger and relays failures to all members.
// Sequence numbers are taken at `begin`, synchronously: members must call in the same order, not await in the same order.

import { InternalError, PeerError } from '../base/errors.ts';
import { framingBytes } from '../transport/frame.ts';
import type { Link, MessageKind, Tag } from '../transport/transport.ts';
import type { Group, Ledger, Operation } from './group.ts';
import { relayFailures } from './relay-failures.ts';

export interface GroupOptions {
  readonly id: number;
  readonly name: string;
  /** World ranks of the members, in group order. */
  readonly ranks: readonly number[];
  /** World rank of this member. */
  readonly self: number;
  /** Links by world rank; those of all other members are needed. */
  readonly links: ReadonlyMap<number, Link>;
  readonly ledger: Ledger;
  /** Aborts every link when an operation fails; by default those of this group. */
  readonly relay?: (error: PeerError) => void;
}

export function createGroup({ id, name, ranks, self, links, ledger, relay }: GroupOptions): Group {
  const rank = ranks.indexOf(self);
  if (rank < 0) throw new InternalError(`rank ${self} is not a member of group ${name} [${ranks.join(', ')}]`);
  const members = ranks.map((member) => {
    const link = links.get(member);
    if (!link && member !== self) throw new InternalError(`group ${name}: rank ${self} has no link to rank ${member}`);
    return link;
  });
  const tell = relay ?? relayFailures(members.filter((link) => link !== undefined));
  let next = 0;

  function linkTo(index: number): Link {
    const link = index === rank ? undefined : members[index];
    if (!link) throw new InternalError(`group ${name}: member ${rank} of ${ranks.length} has no link to member ${index}`);
    return link;
  }

  /** Passes `result` on; its rejection counts as handled because the relay has taken it up. */
  function watch<T>(result: Promise<T>): Promise<T> {
    result.catch((error: unknown) => { if (error instanceof PeerError) tell(error); });
    return result;
  }

  function begin(kind: MessageKind, seq = next++): Operation {
    const tag = (chunk: number): Tag => ({ group: id, seq, chunk, kind });
    return {
      kind,
      seq,
      send(to, chunk, data) {
        const link = linkTo(to);
        ledger.record({ to: ranks[to]!, kind, group: name, payload: data.byteLength, framing: framingBytes(data.byteLength) });
        return watch(link.send(tag(chunk), data));
      },
      recv: (from, chunk, out) => watch(linkTo(from).recv(tag(chunk), out)),
      recvUpTo: (from, chunk, dtype, maxCount) => watch(linkTo(from).recvUpTo(tag(chunk), dtype, maxCount)),
    };
  }

  return { id, name, rank, size: ranks.length, ranks, begin };
}
