// The place of a member in a view, for its page.

import { InternalError } from '../../base/errors.ts';
import type { View } from '../messages.ts';
import type { Presence } from '../presence.ts';
import type { Place } from './session-types.ts';

/** `me`: an address in the view. All of the view are among `present`. */
export function placeIn(view: View, me: string, present: readonly Presence[]): Place {
  const { run, wish, plan } = view;
  const members = view.members.map(
    (address) => present.find((member) => member.address === address) ?? missing(address),
  );
  return { rank: view.members.indexOf(me), worldSize: members.length, view: view.view, run, wish, plan, members };
}

function missing(address: string): never {
  throw new InternalError(`a view was taken with the member ${address}, who is not in the roster`);
}
