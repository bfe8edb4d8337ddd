// Who made the first value that was no number, from the reports of all ranks; and, on that rank, what it was. Runs only
// when a step has failed.

import { firstNonFinite } from '../../base/finite.ts';
import { broadcast } from '../../collectives/broadcast.ts';
import type { Group } from '../../collectives/group.ts';
import type { ValueWatch } from '../../collectives/record/value-watch.ts';
import type { Device } from '../../device/device.ts';
import { elements } from '../../base/shape.ts';
import type { ModelPart } from '../../model/model-part.ts';
import type { StepReport } from './step-report.ts';

/** Bits of f32 infinity; what is above is NaN. */
export const INFINITE = 0x7f800000;
/** Orders of what has no place among a step's actions: weights were there before, summed gradients come after. */
export const BEFORE = 0;
export const AFTER = 0xffffffff;
const TEXT_BYTES = 512;
const MOST_WEIGHT = 2 ** 100;

export interface Blame {
  readonly culprit: number;
  /** It sent numbers, and others received something else. */
  readonly onTheWay: boolean;
}

/**
 * Who is at fault, the same on every rank; undefined if everything that counts is finite. `ranks`: of the reports, as
 * errors number them.
 */
export function blame(reports: readonly StepReport[], ranks: readonly number[]): Blame | undefined {
  const bad = ({ lossSum, most, beyond }: StepReport): boolean =>
    !Number.isFinite(lossSum) || most >= INFINITE || beyond;
  if (!reports.some(bad)) return undefined;
  const found = reports.flatMap(
    (report, rank): { readonly order: number; readonly rank: number; readonly from?: number }[] => {
      if (report.beyond) return [{ order: BEFORE, rank }];
      if (report.first) return [{ ...report.first, rank }];
      return bad(report) ? [{ order: AFTER, rank }] : [];
    },
  );
  // What causes comes before what it causes; who sent comes before who received it in the same stretch.
  found.sort(
    (a, b) => a.order - b.order || Number(a.from !== undefined) - Number(b.from !== undefined) || a.rank - b.rank,
  );
  const { rank, from } = found[0]!;
  return { culprit: from ?? ranks[rank]!, onTheWay: from !== undefined };
}

/** What it was, told by the culprit about itself. */
export async function confess(
  device: Device,
  parts: readonly ModelPart[],
  watch: ValueWatch,
  onTheWay: boolean,
): Promise<string> {
  const weight = await firstBadTensor(device, parts, 'weight');
  if (weight) return weight;
  if (onTheWay) return 'what others received from it was not finite, though it was when it was sent';
  const made = watch.first && watch.first.from === undefined ? watch.what : undefined;
  // Of summed gradients the tensor says more than the message it went in.
  const gradient =
    watch.first && watch.first.order < AFTER ? undefined : await firstBadTensor(device, parts, 'gradient');
  return gradient ?? made ?? 'a moment left the range in which updates are safe';
}

/**
 * The first weight or gradient of this rank that is no number (or a weight too large to be updated), by its name in the
 * model.
 */
async function firstBadTensor(
  device: Device,
  parts: readonly ModelPart[],
  what: 'weight' | 'gradient',
): Promise<string | undefined> {
  for (const { params } of parts) {
    const buffer = what === 'weight' ? params.values : params.grads;
    const [bytes] = await device.submit([], [{ buffer, offset: 0, bytes: params.layout.size * 4 }]);
    const all = new Float32Array(bytes!);
    for (const { spec, start } of params.layout.places.values()) {
      const values = all.subarray(start, start + elements(spec.shape));
      const large = what === 'weight' ? values.findIndex((value) => Math.abs(value) > MOST_WEIGHT) : -1;
      const at = Math.max(firstNonFinite(values), large);
      if (at >= 0)
        return `the ${what} of ${[...new Set(spec.parts.map(({ weight }) => weight))].join(', ')} is ${values[at]}`;
    }
  }
  return undefined;
}

/** Brings the culprit's words to every rank; `own` is called there alone. */
export async function culpritsWords(world: Group, culprit: number, own: () => Promise<string>): Promise<string> {
  const bytes = new Uint8Array(TEXT_BYTES);
  const root = world.ranks.indexOf(culprit);
  if (world.rank === root) new TextEncoder().encodeInto(await own(), bytes);
  await broadcast(world, new Uint32Array(bytes.buffer), root);
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0) < 0 ? TEXT_BYTES : bytes.indexOf(0)));
}
