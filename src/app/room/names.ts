// Sentences about what people in a room do.

import type { Act } from '../../cluster/messages.ts';
import type { Presence } from '../../cluster/presence.ts';

const DONE: Readonly<Record<Act, string>> = { pause: 'paused the run', resume: 'let the run go on', stop: 'stopped the run', save: 'saves a checkpoint', sample: 'asked for a sample' };

export function nameOf(by: Pick<Presence, 'address' | 'name'>, me: Pick<Presence, 'address'> | undefined): string { return by.address === me?.address ? 'you' : by.name; }

/** 'Chrome on Linux 3fa (rank 2) paused the run'. */
export function actSentence(act: Act, by: Presence, me: Pick<Presence, 'address'> | undefined): string {
  const who = nameOf(by, me);
  const done = act === 'save' && who === 'you' ? 'save a checkpoint' : DONE[act];
  return `${who}${by.run && who !== 'you' ? ` (rank ${by.run.rank})` : ''} ${done}`;
}

/** 'Chrome on Linux 3fa and Edge on Windows 9b0'; 'a, b and 3 more'. */
export function listNames(members: readonly Pick<Presence, 'name'>[], most = 4): string {
  const names = members.slice(0, most).map(({ name }) => name);
  if (members.length > most) return `${names.join(', ')} and ${members.length - most} more`;
  return names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : names[0] ?? '';
}
