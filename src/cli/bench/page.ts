// The page's side of chromium.ts: opens the browser's GPU and runs a bench on it.

import { createWebGpuDevice } from '../../device/webgpu.ts';
import { benchKernels } from './kernels.ts';
import type { Measured } from './report.ts';
import { benchStep, stepConfig } from './step.ts';
import type { StepMeasured } from './step.ts';
import { tfjsRunner } from './tfjs-gpt2.ts';

/** What crosses from Node to the page. */
export interface StepRequest { readonly settings: readonly (readonly [string, unknown])[]; readonly textUrl: string; readonly rounds: number; readonly peers: boolean }
export interface KernelsRequest { readonly only?: string }

type Say = (text: string) => void;

export async function step({ settings, textUrl, rounds, peers }: StepRequest): Promise<StepMeasured> {
  const text = await (await fetch(textUrl)).text();
  const device = await createWebGpuDevice(navigator.gpu);
  try {
    const peer: Parameters<typeof benchStep>[0]['peer'] = peers ? async (config, prepared) => {
      const { loadTensorFlow } = await import('./tfjs-page.ts');
      return tfjsRunner(await loadTensorFlow(), config, prepared);
    } : undefined;
    return await benchStep({ device, config: stepConfig(settings), files: { text }, rounds, peer });
  } finally {
    device.destroy();
  }
}

export async function kernels({ only }: KernelsRequest, say: Say): Promise<Measured> {
  const device = await createWebGpuDevice(navigator.gpu);
  try {
    return await benchKernels({ device, only, onStatus: say });
  } finally {
    device.destroy();
  }
}
