// The last operations of one rank, for the timeline of a failure: what was called with which arguments, how many of its
// messages were posted and how many ended, and whom it last waited for. A ring of 1,000 places in typed arrays: an
// operation allocates nothing, and the oldest is overwritten. Times are milliseconds of this rank's own clock:
// durations may be compared between ranks, moments may not.

import type { DType } from '../../base/shape.ts';
import type { World } from '../../base/world.ts';
import { describeArguments } from '../../transport/arguments.ts';
import { DTYPES } from '../../transport/frame.ts';
import { MESSAGE_KINDS } from '../../transport/transport.ts';
import type { MessageKind } from '../../transport/transport.ts';

export const FLIGHT_RECORDS = 1000;

/** One operation as it stood when the recorder was dumped; plain JSON. */
export interface FlightRecord {
  readonly groupId: number;
  readonly kind: string;
  readonly seq: number;
  /** A message whose number the members of the group do not count alike: two ranks alone, or the caller, number it. */
  readonly point: boolean;
  /** 'f32[1000] (sum, f16, direct)'; empty when the operation was not signed. */
  readonly call: string;
  readonly startMs: number;
  /** When the last message ended so far. */
  readonly endMs: number;
  readonly sends: number;
  readonly sendsEnded: number;
  readonly receives: number;
  readonly receivesEnded: number;
  readonly bytesSent: number;
  readonly failed: boolean;
  /** World rank that the last unfinished receive was posted for, or -1. */
  readonly waitsFor: number;
}

/** What one rank knows: plain JSON, to be sent to whoever merges the dumps (timeline.ts). */
export interface FlightDump {
  readonly rank: number;
  readonly atMs: number;
  readonly reason: string;
  /** Records that were overwritten. */
  readonly dropped: number;
  /** World ranks of the members of each group that the records name. */
  readonly groups: readonly { readonly id: number; readonly name: string; readonly ranks: readonly number[] }[];
  /** In order of their begin. */
  readonly records: readonly FlightRecord[];
}

export interface FlightRecorder {
  /** Starts a record; the number names it until its place is overwritten, and does nothing afterwards. */
  group(id: number, name: string, ranks: readonly number[]): void;
  begin(groupId: number, kind: MessageKind, seq: number, point: boolean): number;
  signed(entry: number, dtype: DType | undefined, count: number | undefined, args: number): void;
  posted(entry: number, peer: number, sends: boolean, bytes: number): void;
  ended(entry: number, sends: boolean, ok: boolean): void;
  /** The last records, at most `most` of them. */
  dump(reason: string, most?: number): FlightDump;
}

export function createFlightRecorder(rank: number, world: Pick<World, 'now'>, places = FLIGHT_RECORDS): FlightRecorder {
  const u32 = (): Uint32Array => new Uint32Array(places);
  const f64 = (): Float64Array => new Float64Array(places);
  const [groupId, kinds, seqs, dtypes, argsOf, sends, sendsEnded, receives, receivesEnded] = Array.from(
    { length: 9 },
    u32,
  );
  const [startMs, endMs, bytesSent, counts] = Array.from({ length: 4 }, f64);
  const flags = new Uint8Array(places);
  const waitsFor = new Int32Array(places);
  const POINT = 1;
  const FAILED = 2;
  /** As many as there are groups, not operations. */
  const groups = new Map<number, { id: number; name: string; ranks: readonly number[] }>();
  let total = 0;

  /** The place of a record, or -1 when a newer one has it. */
  const at = (entry: number): number => (entry >= total - places ? entry % places : -1);

  return {
    group(id, name, ranks) {
      groups.set(id, { id, name, ranks });
    },
    begin(id, kind, seq, point) {
      const entry = total++;
      const i = entry % places;
      groupId[i] = id;
      kinds[i] = MESSAGE_KINDS.indexOf(kind);
      seqs[i] = seq;
      flags[i] = point ? POINT : 0;
      dtypes[i] = argsOf[i] = sends[i] = sendsEnded[i] = receives[i] = receivesEnded[i] = 0;
      bytesSent[i] = 0;
      counts[i] = -1;
      waitsFor[i] = -1;
      startMs[i] = endMs[i] = world.now();
      return entry;
    },
    signed(entry, dtype, count, args) {
      const i = at(entry);
      if (i < 0) return;
      dtypes[i] = dtype === undefined ? 0 : DTYPES.indexOf(dtype);
      counts[i] = count ?? -1;
      argsOf[i] = args;
    },
    posted(entry, peer, isSend, bytes) {
      const i = at(entry);
      if (i < 0) return;
      if (isSend) {
        sends[i]++;
        bytesSent[i] += bytes;
      } else {
        receives[i]++;
        waitsFor[i] = peer;
      }
    },
    ended(entry, isSend, ok) {
      const i = at(entry);
      if (i < 0) return;
      if (!ok) {
        flags[i] |= FAILED;
        return;
      }
      endMs[i] = world.now();
      if (isSend) sendsEnded[i]++;
      else receivesEnded[i]++;
    },
    dump(reason, most = places) {
      const records: FlightRecord[] = [];
      const first = Math.max(0, total - Math.min(most, places));
      for (let entry = first; entry < total; entry++) {
        const i = entry % places;
        const words = describeArguments(argsOf[i]);
        const call = counts[i] < 0 ? '' : `${DTYPES[dtypes[i]]}[${counts[i]}]${words ? ` (${words})` : ''}`;
        records.push({
          groupId: groupId[i],
          kind: MESSAGE_KINDS[kinds[i]],
          seq: seqs[i],
          point: (flags[i] & POINT) !== 0,
          call,
          startMs: startMs[i],
          endMs: endMs[i],
          sends: sends[i],
          sendsEnded: sendsEnded[i],
          receives: receives[i],
          receivesEnded: receivesEnded[i],
          bytesSent: bytesSent[i],
          failed: (flags[i] & FAILED) !== 0,
          waitsFor: receivesEnded[i] < receives[i] ? waitsFor[i] : -1,
        });
      }
      return { rank, atMs: world.now(), reason, dropped: first, groups: [...groups.values()], records };
    },
  };
}
