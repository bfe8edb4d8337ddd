// What the worker can run, for the page to offer.

import { PEERS } from '../../bench/load/peers.ts';
import type { Scope, Workload } from '../../bench/problem.ts';
import { WORKLOADS } from '../../bench/run.ts';
import type { Kernel } from '../../device/kernel.ts';
import { PRESET_NAMES } from '../../model/presets.ts';
import type { Catalogue } from './protocol.ts';

const modules = import.meta.glob<Readonly<Record<string, unknown>>>(['../../../shaders/**/*.ts', '!**/*.as.ts'], {
  eager: true,
});

/** A file of shaders/ may hold more than its kernel: cost and shape functions that others need. */
function isKernel(value: unknown): value is Kernel {
  return typeof value === 'object' && value !== null && 'variants' in value && 'cases' in value && 'name' in value;
}

/** Kernels that lie in the file of their name, as the contract has it. */
const kernels = Object.entries(modules).flatMap(([path, module]) => {
  const file = path.split('/').at(-1)!.replace('.ts', '');
  return Object.values(module)
    .filter(isKernel)
    .filter(({ name }) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`) === file || name === file);
});

export const catalogue: Catalogue = {
  workloads: WORKLOADS.map(({ name, about, shapes }) => ({ name, about, scopes: shapes.map(({ scope }) => scope) })),
  libraries: PEERS.map(({ library }) => library),
  kernels: [...new Set(kernels.map(({ name }) => name))].sort(),
  presets: PRESET_NAMES,
};

export function shapesIn({ shapes }: Workload, wanted: Scope): number {
  return shapes.filter(({ scope }) => inScope(scope, wanted)).length;
}

/** Quick shapes are run by all, the rest of the full scope by it alone. */
export function inScope(shape: Scope, wanted: Scope): boolean {
  return wanted === 'full' || shape === 'quick' || shape === wanted;
}
