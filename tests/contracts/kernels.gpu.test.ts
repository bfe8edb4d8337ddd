// The kernel contract in Node, on Dawn, and every file of shaders/ as it stands, before anything is specialised: an
// editor opens it, so it must be whole.

import { expect, it } from 'vitest';
import { nodeGpu } from '../../src/device/node-gpu.ts';
import { describeKernels } from '../support/kernel-suite.ts';
import { wgslFiles } from '../support/kernels.ts';

describeKernels('Dawn', nodeGpu, (line) => process.stderr.write(`${line}\n`));

/** The compiler's errors for each of these texts by name. */
async function errorsOf(texts: Readonly<Record<string, string>>): Promise<string[]> {
  const adapter = await (await nodeGpu()).requestAdapter();
  const device = await adapter!.requestDevice({
    requiredFeatures: ['subgroups' as GPUFeatureName].filter((feature) => adapter!.features.has(feature)),
  });
  const found: string[] = [];
  for (const [name, code] of Object.entries(texts)) {
    device.pushErrorScope('validation');
    const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
    await device.popErrorScope();
    found.push(...messages.filter(({ type }) => type === 'error').map(({ message }) => `${name}: ${message}`));
  }
  device.destroy();
  return found;
}

it('every file is valid WGSL as it stands', async () => {
  expect(Object.keys(wgslFiles).length).toBeGreaterThan(50);
  // A lane that is broadcast is a constant only once its loop is unrolled.
  const lane = "the 'sourceLaneIndex' argument of 'subgroupBroadcast' must be a const-expression";
  const known = ['matmul-subgroup-vec4.wgsl', 'matmul-subgroup.wgsl'].map((name) => `${name}: ${lane}`);
  expect((await errorsOf(wgslFiles)).filter((error) => !known.includes(error))).toEqual([]);
});

it('and a file that is not is told by name', async () => {
  const broken = wgslFiles['add.wgsl'].replace('alias Value = f32;', '');
  const found = await errorsOf({ 'add.wgsl': broken });
  expect(found).toEqual([expect.stringContaining("add.wgsl: unresolved type 'Value'")]);
});
