// Runs a bench in this process, on Dawn.

import { createRequire } from 'node:module';
import { AbortedError } from '../../base/errors.ts';
import { localDevice } from '../in-process.ts';
import { benchKernels } from './kernels.ts';
import type { Measured } from './report.ts';
import { benchStep } from './step.ts';
import type { StepBench, StepMeasured } from './step.ts';

export interface NodeBench { readonly onStatus: (text: string) => void; readonly signal: AbortSignal }

/** What stands in the place of a browser's name. */
export function describeNode(): string {
  const { version } = createRequire(import.meta.url)('webgpu/package.json') as { version: string };
  return `Node ${process.versions.node}, webgpu ${version}`;
}

function checkpointOf(signal: AbortSignal): () => void {
  return () => { if (signal.aborted) throw new AbortedError(); };
}

export async function benchStepInNode({ config, files, rounds, peers, signal }: NodeBench & Pick<StepBench, 'config' | 'files' | 'rounds'> & { readonly peers: boolean }): Promise<StepMeasured> {
  const device = await localDevice('node');
  try {
    const peer: StepBench['peer'] = peers ? async (...run) => {
      const [{ tfjsRunner }, { loadTensorFlow }] = await Promise.all([import('./tfjs-gpt2.ts'), import('./tfjs-node.ts')]);
      return tfjsRunner(await loadTensorFlow(), ...run);
    } : undefined;
    return await benchStep({ device, config, files, rounds, peer, checkpoint: checkpointOf(signal) });
  } finally {
    device.destroy();
  }
}

export async function benchKernelsInNode({ only, onStatus, signal }: NodeBench & { readonly only?: string }): Promise<Measured> {
  const device = await localDevice('node');
  try {
    return await benchKernels({ device, only, onStatus, checkpoint: checkpointOf(signal) });
  } finally {
    device.destroy();
  }
}
