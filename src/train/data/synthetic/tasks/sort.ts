// The answer is x in order.

import { sequenceTask } from '../synthetic-task.ts';

export const task = sequenceTask('sort', (x) => x.toSorted((a, b) => a - b));
