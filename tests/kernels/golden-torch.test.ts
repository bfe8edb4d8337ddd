// PyTorch's golden cases on the f64 references: finds mistakes of formulas before any GPU is involved.

import { createCpuDevice } from '../../src/device/cpu.ts';
import { describeGolden } from './golden-torch.ts';

describeGolden('references equal PyTorch', async () => createCpuDevice());
