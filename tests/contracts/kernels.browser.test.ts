// The kernel contract in a browser; a sample, because Node runs the whole contract on the same compiler and driver.

import { describeKernels } from '../support/kernel-suite.ts';
import { ALL } from '../support/sample.ts';

describeKernels(
  'the browser',
  () => navigator.gpu,
  (line) => console.info(line),
  ALL ? 1 : 4,
);
