// The kernel contract in a browser.

import { describeKernels } from '../support/kernel-suite.ts';

describeKernels('the browser', () => navigator.gpu, (line) => console.info(line));
