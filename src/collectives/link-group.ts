// A Group over links: numbers the operations, tags and signs their messages, enters them in the ledger and the flight
// recorder, and relays failures to all members. Sequence numbers are taken at `begin`, synchronously: members must call
// in the same order, not await in the same order.

import { InternalError, LayoutError, PeerError } from '../base/errors.ts';
import { encodeArguments } from '../transport/arguments.ts';
import { framingBytes } from '../transport/frame.ts';
import { POINT_CHUNK } from '../transport/transport.ts';
import type { Link, MessageKind, Tag } from '../transport/transport.ts';
import type { Group, Ledger, Operation } from './group.ts';
import type { FlightRecorder } from './record/flight-recorder.ts';
import type { OperationWatch } from './record/operation-watch.ts';
import { relayFailures } from './relay-failures.ts';

export interface GroupOptions {
  readonly id: number;
  readonly name: string;
  /** Ranks of the members, in group order, as the links number them. */
  readonly ranks: readonly number[];
  /** Rank of this member, likewise. */
  readonly self: number;
  /** Links by rank; those of all other members are needed. */
  readonly links: ReadonlyMap<number, Link>;
  readonly ledger: Ledger;
  /** Aborts every link when an operation fails; by default those of this group. */
  readonly relay?: (error: PeerError) => void;
  /** Keeps the last operations for the timeline of a failure. */
  readonly recorder?: FlightRecorder;
  /** Ends operations that take too long. */
  readonly watch?: OperationWatch;
}

export function createGroup({ id, name, ranks, self, links, ledger, relay, recorder, watch }: GroupOptions): Group {
  const rank = ranks.indexOf(self);
  if (rank < 0) throw new InternalError(`rank ${self} is not a member of group ${name} [${ranks.join(', ')}]`);
  const members = linksOf(name, ranks, self, links);
  const tell = relay ?? relayFailures(members.filter((link) => link !== undefined));
  const points = { to: ranks.map(() => 0), from: ranks.map(() => 0) };
  let next = 0;
  recorder?.group(id, name, ranks);

  function linkTo(index: number): Link {
    const link = index === rank ? undefined : members[index];
    if (!link) throw new LayoutError(`group ${name}: member ${rank} of ${ranks.length} has no link to member ${index}`);
    return link;
  }

  function accuse(member: number, detail: string): PeerError {
    const error = new PeerError(ranks[member]!, 'corrupt', detail);
    tell(error);
    return error;
  }

  /** `common`: all members count this operation alike; otherwise two of them alone do, or the caller. */
  function operationOf(kind: MessageKind, seq: number, point: boolean, common = !point): Operation {
    // With its first message or signature: it may have its number long before it starts.
    let begun: number | undefined;
    const entry = (): number | undefined => (begun ??= recorder?.begin(id, kind, seq, !common));
    let args = 0;
    const tag = (chunk: number): Tag => ({ group: id, seq, chunk: point ? POINT_CHUNK : chunk, kind, args });

    /** Follows one message to its end. A rejection counts as handled because the relay has taken it up. */
    function follow<T>(peer: number, sends: boolean, bytes: number, result: Promise<T>): Promise<T> {
      const watched = watch?.started(name, kind, seq, ranks[peer]!);
      const record = entry();
      if (record !== undefined) recorder!.posted(record, ranks[peer]!, sends, bytes);
      const ended = (ok: boolean): void => {
        if (watched !== undefined) watch!.ended(watched);
        if (record !== undefined) recorder!.ended(record, sends, ok);
      };
      result.then(
        () => ended(true),
        (error: unknown) => {
          ended(false);
          if (error instanceof PeerError) tell(error);
        },
      );
      return result;
    }

    return {
      kind,
      seq,
      sign(call) {
        args = encodeArguments(call);
        if (common)
          for (const [index, link] of members.entries()) if (index !== rank) link!.note({ group: id, seq, kind, args });
        const record = entry();
        if (record !== undefined) recorder!.signed(record, call.dtype, call.count, args);
      },
      send(to, chunk, data) {
        const link = linkTo(to);
        ledger.record({
          to: ranks[to]!,
          kind,
          group: name,
          payload: data.byteLength,
          framing: framingBytes(data.byteLength, link.report().frameBytes),
        });
        return follow(to, true, data.byteLength, link.send(tag(chunk), data));
      },
      recv: (from, chunk, out) => follow(from, false, out.byteLength, linkTo(from).recv(tag(chunk), out)),
      post: (from, chunk, out) => {
        const take = linkTo(from).post(tag(chunk), out);
        return () => follow(from, false, out.byteLength, take());
      },
      recvUpTo: (from, chunk, dtype, maxCount) =>
        follow(from, false, 4 * maxCount, linkTo(from).recvUpTo(tag(chunk), dtype, maxCount)),
      accuse,
    };
  }

  return {
    id,
    name,
    rank,
    size: ranks.length,
    ranks,
    current() {
      return this;
    },
    fixedRank: () => rank,
    accuse,
    numbers: (count) => (next += count) - count,
    begin: (kind, seq) => operationOf(kind, seq ?? next++, false, seq === undefined),
    beginPoint: (kind, peer, direction) => {
      linkTo(peer);
      return operationOf(kind, points[direction][peer]++, true);
    },
  };
}

/** By index of the member; none to itself. */
function linksOf(
  name: string,
  ranks: readonly number[],
  self: number,
  links: ReadonlyMap<number, Link>,
): readonly (Link | undefined)[] {
  if (new Set(ranks).size !== ranks.length)
    throw new LayoutError(`group ${name}: a rank occurs twice in [${ranks.join(', ')}]`);
  return ranks.map((member) => {
    const link = links.get(member);
    if (!link && member !== self) throw new InternalError(`group ${name}: rank ${self} has no link to rank ${member}`);
    return link;
  });
}
