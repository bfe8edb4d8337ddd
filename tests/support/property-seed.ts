// Property tests draw the same inputs in every `npm test`, so that a clone passes or fails like any other; `npm run
// test:all` draws new ones. TABMESH_SEED=N draws those of seed N. A failure prints its seed.

import fc from 'fast-check';
import { ALL } from './sample.ts';

const DEFAULT_SEED = 20261201;

const asked = process.env['TABMESH_SEED'];
if (asked !== undefined) fc.configureGlobal({ seed: Number(asked) });
else if (!ALL) fc.configureGlobal({ seed: DEFAULT_SEED });
