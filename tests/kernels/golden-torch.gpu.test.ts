// PyTorch's golden cases on Dawn: the WGSL itself, in f32.

import { nodeGpu } from '../../src/device/node-gpu.ts';
import { createWebGpuDevice } from '../../src/device/webgpu.ts';
import { describeGolden } from './golden-torch.ts';

describeGolden('kernels equal PyTorch', async () => createWebGpuDevice(await nodeGpu()));
