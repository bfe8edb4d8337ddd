// A synthetic task to add: the answer is x with its first symbol at the end.

import { sequenceTask } from '../../../src/train/data/synthetic/synthetic-task.ts';

export const task = sequenceTask('rotate', (x) => [...x.slice(1), x[0]]);
