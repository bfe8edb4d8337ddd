// The times of `--cost F=1,B=1,W=1,S=0.5,comm=0.1`: of a pass on one stage, or of each stage with slashes between
// them; and of what goes between ranks.

import { ConfigError } from '../../base/errors.ts';
import type { StagePlacement } from '../../parallel/pipeline/placement.ts';
import { PASSES } from '../../parallel/pipeline/passes.ts';
import { PASS_KINDS } from '../../parallel/pipeline/schedule.ts';
import type { PassKind, Schedule } from '../../parallel/pipeline/schedule.ts';
import type { Duration, Timing } from '../../parallel/pipeline/simulate.ts';
import { didYouMean } from '../nearest.ts';

/** A chunk's passes as long as each other, a vocabulary half as long as a forward, an embedding that takes no time. */
const DEFAULTS: Readonly<Record<PassKind, number>> = {
  ...{ IF: 0, F: 1, S: 0.25, S2: 0, T: 0.25, R: 1, B: 1, W: 1, IB: 0 },
};
const BETWEEN = ['comm', 'transfer', 'collective'] as const;

/** ConfigError for a name that the schedule has no pass of, and for what is no time. */
export function parseCost(text: string | undefined, schedule: Schedule, placement: StagePlacement): Timing {
  // Without W, B takes the time of both.
  const kinds = PASS_KINDS.filter((kind) => schedule.passes.includes(kind) || kind === 'W');
  const names: readonly string[] = [...kinds, ...BETWEEN];
  const given = new Map<string, readonly number[]>();
  for (const part of (text ?? '').split(',').filter((one) => one.trim() !== '')) {
    const [name = '', times] = part.split('=', 2).map((one) => one.trim());
    if (times === undefined) throw new ConfigError('--cost', `expected NAME=TIME, such as F=1, got '${part}'`);
    if (!names.includes(name)) throw new ConfigError('--cost', unknown(name, names, schedule));
    if (given.has(name)) throw new ConfigError('--cost', `expected ${name} once, got it twice`);
    given.set(
      name,
      times.split('/').map((time) => timeOf(name, time)),
    );
  }
  const timing: Record<string, Duration> = {};
  for (const kind of kinds) timing[kind] = durationOf(kind, given.get(kind) ?? [DEFAULTS[kind]], placement);
  for (const name of BETWEEN) {
    const times = given.get(name);
    if (times === undefined) continue;
    if (times.length > 1) throw new ConfigError('--cost', `expected one time of ${name}, got ${times.length}`);
    timing[name] = times[0]!;
  }
  if (kinds.every((kind) => (given.get(kind) ?? [DEFAULTS[kind]]).every((time) => time === 0)))
    throw new ConfigError('--cost', 'expected some pass to take time, got 0 for all');
  return timing as unknown as Timing;
}

function timeOf(name: string, text: string): number {
  const time = text.trim() === '' ? NaN : Number(text);
  if (!Number.isFinite(time) || time < 0)
    throw new ConfigError('--cost', `expected a time of at least 0 for ${name}, got '${text}'`);
  return time;
}

function unknown(name: string, names: readonly string[], { vocabulary }: Schedule): string {
  const shared = vocabulary === undefined && ['IF', 'S', 'S2', 'T', 'IB'].includes(name);
  const hint = shared ? `; ${name} is a pass of a shared vocabulary: choose a --vocab` : didYouMean(name, names);
  return `expected times of ${names.join(', ')}, got '${name}'${hint}`;
}

/** By stage for passes of blocks, by rank for those that all ranks share. */
function durationOf(kind: PassKind, times: readonly number[], { ranks, chain }: StagePlacement): Duration {
  if (times.length === 1) return times[0]!;
  const blocks = PASSES[kind].part === 'blocks';
  const count = blocks ? chain : ranks;
  if (times.length !== count)
    throw new ConfigError(
      '--cost',
      `expected 1 or ${count} times of ${kind}, one per ${blocks ? 'stage' : 'rank'}, got ${times.length}`,
    );
  return (stage, rank) => times[blocks ? stage : rank]!;
}
