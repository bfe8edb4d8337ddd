// The answer is x again.

import { sequenceTask } from '../synthetic-task.ts';

export const task = sequenceTask('copy', (x) => x);
