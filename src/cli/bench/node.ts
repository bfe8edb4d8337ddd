// Runs a bench in this process, on Dawn.

import { createRequire } from 'node:module';
import { AbortedError } from '../../base/errors.ts';
import { stepPeers } from '../../bench/gpt2/step-peers.ts';
import { PEERS } from '../../bench/load/peers.ts';
import { realWorld } from '../../base/world.ts';
import { Qualifier } from '../../device/tune/qualifier.ts';
import { localDevice, nodeVersion } from '../in-process.ts';
import { readMobyDick } from '../../server/pages/moby-dick.ts';
import { nodeLoaders } from './peers-node.ts';
import { benches } from './work.ts';
import type { Answers, Requests } from './work.ts';

/** What stands in the place of a browser's name. */
export function describeNode(): string {
  const { version } = createRequire(import.meta.url)('webgpu/package.json') as { version: string };
  return `Node ${process.versions.node}, webgpu ${version}`;
}

export async function benchInNode<K extends keyof Requests>(
  name: K,
  request: Requests[K],
  {
    tuneMs,
    onStatus,
    signal,
  }: { readonly tuneMs: number | null; readonly onStatus: (text: string) => void; readonly signal: AbortSignal },
): Promise<Answers[K]> {
  const device = await localDevice(
    'node',
    tuneMs === null ? undefined : new Qualifier({ world: realWorld, version: nodeVersion(), tuneMs }),
  );
  try {
    return await benches[name](request, {
      device,
      others: { loaders: nodeLoaders, workloads: PEERS, step: stepPeers },
      text: async () => readMobyDick(),
      onStatus,
      checkpoint: () => {
        if (signal.aborted) throw new AbortedError();
      },
    });
  } finally {
    device.destroy();
  }
}
