// The kernel contract in Node, on Dawn.

import { nodeGpu } from '../../src/device/node-gpu.ts';
import { describeKernels } from '../support/kernel-suite.ts';

describeKernels('Dawn', nodeGpu, (line) => process.stderr.write(`${line}\n`));
