// `tabmesh bench pipeline`: steps of a pipeline that this machine could not run side by side, from measured passes.

import { writeFileSync } from 'node:fs';
import { AbortedError, ConfigError } from '../../base/errors.ts';
import { formatBytes } from '../../base/format-bytes.ts';
import { realWorld } from '../../base/world.ts';
import { table } from '../../bench/bench-report.ts';
import { comparePipelines } from '../../bench/pipeline/compare.ts';
import type { PipelineResult } from '../../bench/pipeline/compare.ts';
import { schedules } from '../../parallel/pipeline/registry.ts';
import { VOCABULARY_FORMS } from '../../parallel/pipeline/schedule.ts';
import type { CommandIo } from '../command.ts';
import { localDevice } from '../in-process.ts';
import type { LocalBackend } from '../in-process.ts';
import { parseOptions } from '../options.ts';
import { PIPELINE_OPTIONS } from './pipeline-options.ts';

const HEADER = ['schedule', 'vocab', 'step ms', 'simulated', 'tokens/s', 'ratio', 'idle', 'param', 'activations'];

export async function pipeline(args: readonly string[], io: CommandIo): Promise<number> {
  const { options } = parseOptions(args, PIPELINE_OPTIONS);
  const { backend, delay, bandwidth, stages, json, ...counts } = options;
  if (!(delay >= 0 && delay <= 10_000)) throw new ConfigError('--delay', `expected 0 to 10000 ms, got ${delay}`);
  if (!(bandwidth > 0)) throw new ConfigError('--bandwidth', `expected more than 0 MB/s, got ${bandwidth}`);
  const settings = {
    ...counts,
    ranks: stages,
    schedules: listOf('--schedule', options.schedule, [...schedules.keys()]),
    forms: listOf('--vocab', options.vocab, VOCABULARY_FORMS),
    delayMs: delay,
    megabytesPerSecond: bandwidth,
  };
  const device = await localDevice(backend as LocalBackend);
  const results: PipelineResult[] = [];
  try {
    const checkpoint = (): void => {
      if (io.signal.aborted) throw new AbortedError();
    };
    for await (const result of comparePipelines(settings, device, realWorld, checkpoint)) {
      results.push(result);
      io.err(`${result.schedule}, vocabulary ${result.vocab}: ${result.stepMs.toFixed(0)} ms`);
    }
  } finally {
    device.destroy();
  }
  if (json !== undefined) writeFileSync(json, `${JSON.stringify({ settings, results }, null, 2)}\n`);
  io.out(
    `${options.model}, ${options.tokens} tokens, ${stages} stages, ${options.microbatches} microbatches of ` +
      `${options.rows} x ${options.context}; ${delay} ms, ${bandwidth} MB/s; passes measured on ${device.adapter.description}`,
  );
  io.out('');
  for (const line of table('llrrrrrrr', HEADER, results.map(cellsOf(results[0]!)))) io.out(line);
  return 0;
}

function cellsOf(first: PipelineResult): (result: PipelineResult) => readonly string[] {
  const range = ([most, least]: readonly [number, number]): string => `${formatBytes(least)} to ${formatBytes(most)}`;
  return (result) => [
    result.schedule,
    result.vocab,
    result.stepMs.toFixed(1),
    `${(100 * (result.simulatedMs / result.stepMs - 1)).toFixed(1)} %`,
    result.tokensPerSecond.toFixed(0),
    `${(result.tokensPerSecond / first.tokensPerSecond).toFixed(2)}x`,
    `${(100 * result.idle).toFixed(0)} %`,
    range(result.paramBytes),
    range(result.activationBytes),
  ];
}

/** ConfigError for a name that is none of `known`, or no name at all. */
function listOf<T extends string>(option: string, text: string, known: readonly T[]): readonly T[] {
  return text.split(',').map((word) => {
    const found = known.find((name) => name === word.trim());
    if (found === undefined)
      throw new ConfigError(option, `expected names of ${known.join(', ')}, got '${word.trim()}'`);
    return found;
  });
}
