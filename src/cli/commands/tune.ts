// `tabmesh tune`: measures kernel variants on the shapes that a model's training plan really uses, says what was chosen
// and why, and remembers it for `train`. It starts the training run itself and stops it as soon as everything is
// measured, so that what is tuned is what will run.

import { AbortedError, ConfigError, InternalError } from '../../base/errors.ts';
import { realWorld } from '../../base/world.ts';
import type { Device } from '../../device/device.ts';
import type { Kernel } from '../../device/kernel.ts';
import type { Certificate } from '../../device/tune/certificate.ts';
import { Qualifier } from '../../device/tune/qualifier.ts';
import type { TuneStore } from '../../device/tune/store.ts';
import { supportedVariants } from '../../device/variant.ts';
import { PRESET_NAMES } from '../../model/presets.ts';
import { parseRunConfig } from '../../train/run-config.ts';
import type { Command } from '../command.ts';
import { execute } from '../execution.ts';
import { localDevice, nodeVersion } from '../in-process.ts';
import { fileTuneStore, tuneFile } from '../machine/tune-file.ts';
import { readMobyDick } from '../../server/pages/moby-dick.ts';
import { describeOptions, parseOptions } from '../options.ts';
import { tuneReport } from '../tune/tune-report.ts';

const OPTIONS = {
  model: { type: 'string', default: 'gpt2-nano', choices: PRESET_NAMES, about: 'preset whose training plan is tuned' },
  batch: { type: 'count', default: 8, about: 'rows per step' },
  context: { type: 'count', about: 'tokens per row (default: all positions of the model)' },
  layout: {
    type: 'string',
    value: 'mesh',
    default: 'dp=1',
    about: 'mesh, for example tp=2: shards have shapes of their own',
  },
  kernel: { type: 'string', about: 'tune the contract cases of this kernel instead (only with --backend node)' },
  budget: { type: 'number', default: 10, about: 'seconds to measure in' },
  backend: {
    type: 'string',
    default: 'node',
    choices: ['node', 'chromium'],
    about: 'Dawn in this process, or headless Chromium (which remembers nothing)',
  },
  fresh: { type: 'flag', about: 'measure again what is remembered' },
  reasons: { type: 'flag', about: 'a sentence for every choice' },
  json: { type: 'flag', about: 'print the certificate as JSON' },
} as const;

/** A software adapter in Chromium measures between the steps of a run, which ends as soon as that is done. */
const MOST_STEPS = 100_000;

const kernels = import.meta.glob<Record<string, unknown>>(['../../../shaders/**/*.ts', '!**/*.as.ts']);

export const command: Command = {
  name: 'tune',
  summary: "measures kernel variants on a model's shapes and remembers the fastest right ones",
  help: [
    "tabmesh tune: measures kernel variants on a model's shapes and remembers the fastest right ones",
    '',
    'usage: tabmesh tune [options]',
    '',
    describeOptions(OPTIONS),
    '',
    `What Node found is kept in ${tuneFile()} and used by train. A variant whose result is not the reference's is never chosen.`,
  ].join('\n'),
  async run(args, io) {
    const { options } = parseOptions(args, OPTIONS);
    if (options.budget < 0) throw new ConfigError('--budget', `expected seconds of at least 0, got ${options.budget}`);
    const kept = fileTuneStore();
    const store: TuneStore = options.fresh
      ? { read: async () => undefined, write: (key, text) => kept.write(key, text) }
      : kept;
    const { kernel, model, batch, context, layout, budget, backend } = options;
    if (kernel !== undefined && backend !== 'node')
      throw new ConfigError('--kernel', `needs --backend node, got ${backend}`);
    const certificate =
      kernel !== undefined
        ? await tuneKernel(await kernelByName(kernel), budget, store)
        : await tunePlan({
            settings: [
              ['model', model],
              ['batch', batch],
              ['layout', layout],
              ['tune', budget],
              ['steps', backend === 'node' ? 1 : MOST_STEPS],
              ['sampleEvery', 0],
              ['evalEvery', 0],
              ...(context === undefined ? [] : [['context', context] as const]),
            ],
            backend: backend as 'node' | 'chromium',
            store,
            signal: io.signal,
            onStatus: (text) => io.err(text),
          });
    for (const line of options.json ? [JSON.stringify(certificate)] : tuneReport(certificate, options.reasons))
      io.out(line);
    return 0;
  },
};

interface PlanOptions {
  readonly settings: readonly (readonly [string, unknown])[];
  readonly backend: 'node' | 'chromium';
  readonly store: TuneStore;
  readonly signal: AbortSignal;
  readonly onStatus: (text: string) => void;
}

/** What rank 0 of the run, or the last rank of this process, found. */
async function tunePlan({ settings, backend, store, signal, onStatus }: PlanOptions): Promise<Certificate> {
  const found: Certificate[] = [];
  const enough = new AbortController();
  let ready = false;
  try {
    await execute({
      backend,
      mode: 'devices',
      config: parseRunConfig(settings),
      files: { text: readMobyDick() },
      tuneStore: store,
      onStatus,
      signal: AbortSignal.any([signal, enough.signal]),
      onEvent: (rank, event) => {
        if (event.kind === 'status' && rank === 0) onStatus(event.text);
        if (event.kind === 'certificate') found.push(event.certificate);
        ready ||= event.kind === 'ready';
        // By now the rank that measures has its certificate, in this process every rank.
        if (ready && found.length) enough.abort();
      },
    });
  } catch (error) {
    if (!(error instanceof AbortedError) || signal.aborted || !found.length) throw error;
  }
  const last = found.at(-1);
  if (!last) throw new InternalError('the run gave no certificate');
  return last;
}

async function tuneKernel(kernel: Kernel, budget: number, store: TuneStore): Promise<Certificate> {
  const qualifier = new Qualifier({ world: realWorld, version: nodeVersion(), tuneMs: budget * 1000, store });
  const device: Device = await localDevice('node', qualifier);
  try {
    const cases = kernel.cases.filter((params) => supportedVariants(kernel, params, device.features).length > 0);
    return await device.qualify!(cases.map((params) => ({ kernel, params, count: 1 })));
  } finally {
    device.destroy();
  }
}

async function kernelByName(name: string): Promise<Kernel> {
  const known: string[] = [];
  for (const load of Object.values(kernels)) {
    for (const value of Object.values(await load())) {
      if (typeof value !== 'object' || value === null || !('variants' in value) || !('name' in value)) continue;
      if (value.name === name) return value as Kernel;
      known.push(String(value.name));
    }
  }
  throw new ConfigError('--kernel', `there is no kernel '${name}'; the kernels are ${known.sort().join(', ')}`);
}
