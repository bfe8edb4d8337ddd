// Sentences about what people in a room do.

import type { Act } from '../../../cluster/messages.ts';
import type { Presence } from '../../../cluster/presence.ts';
import { RIGHTS } from '../../../cluster/room/laws.ts';
import type { Right, Rules, Who } from '../../../cluster/room/laws.ts';

const DONE: Readonly<Record<Act, string>> = {
  pause: 'paused the run',
  resume: 'let the run go on',
  stop: 'stopped the run',
  save: 'saves a checkpoint',
  sample: 'asked for a sample',
};

export function nameOf(by: Pick<Presence, 'address' | 'name'>, me: Pick<Presence, 'address'> | undefined): string {
  return by.address === me?.address ? 'you' : by.name;
}

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
  return names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : (names[0] ?? '');
}

export const DEEDS: Readonly<Record<Right, string>> = {
  propose: 'start runs',
  act: 'pause and stop runs',
  remove: 'remove others',
};

/** 'all may start runs; the owner alone may pause and stop runs and remove others'. */
export function rulesSentence(rules: Rules): string {
  const said = (who: Who): string =>
    who === 'all' ? 'all' : who === 'owner' ? 'the owner alone' : 'the owner and those named';
  const groups = new Map<string, string[]>();
  for (const right of RIGHTS) groups.set(said(rules[right]), [...(groups.get(said(rules[right])) ?? []), DEEDS[right]]);
  return Array.from(groups, ([who, deeds]) => `${who} may ${deeds.join(' and ')}`).join('; ');
}
