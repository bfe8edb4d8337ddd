// The answer is x from its end to its beginning.

import { sequenceTask } from '../synthetic-task.ts';

export const task = sequenceTask('reverse', (x) => x.toReversed());
