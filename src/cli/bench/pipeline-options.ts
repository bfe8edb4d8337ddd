// The options of `tabmesh bench pipeline`, apart from its work.

import { PRESET_NAMES } from '../../model/presets.ts';
import { schedules } from '../../parallel/pipeline/registry.ts';

export const PIPELINE_OPTIONS = {
  backend: {
    type: 'string',
    choices: ['wasm', 'node'],
    default: 'wasm',
    about: 'what measures the passes: WebAssembly with one thread, or Dawn, in this process',
  },
  model: { type: 'string', choices: PRESET_NAMES, default: 'gpt2-mini', about: 'preset, with a layer for every stage' },
  tokens: { type: 'count', default: 8192, about: 'tokens of its vocabulary' },
  stages: { type: 'count', default: 4, about: 'pipeline ranks p' },
  microbatches: { type: 'count', default: 16, about: 'microbatches per step m' },
  rows: { type: 'count', default: 1, about: 'rows of a microbatch' },
  context: { type: 'count', default: 128, about: 'tokens of a row' },
  schedule: {
    type: 'string',
    value: 'list',
    default: '1f1b',
    about: `schedules, with commas, of ${[...schedules.keys()].join(', ')}`,
  },
  vocab: {
    type: 'string',
    value: 'list',
    default: 'none,alg1,alg2,interlaced',
    about: 'how the ranks share the vocabulary, with commas; the first is what the others are compared with',
  },
  delay: { type: 'number', default: 1, about: 'milliseconds from one rank to another' },
  bandwidth: { type: 'number', default: 25, about: 'megabytes per second of a link, each way' },
  rounds: { type: 'count', default: 5, about: 'times that each pass is measured; the median counts' },
  json: { type: 'string', value: 'FILE', about: 'write the results here as JSON' },
} as const;
