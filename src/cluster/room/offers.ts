// Offers of others to form a view: taken, refused with a reason that their sender hears too, or parked until it is
// known who made them and what was wished for.

import type { Message, View } from '../messages.ts';
import type { Presence } from '../presence.ts';
import type { Rights } from './rights.ts';
import { isWished } from './wishes.ts';
import type { Wishes } from './wishes.ts';

export interface OffersOptions {
  readonly wishes: Wishes;
  readonly rights: Rights;
  readonly members: () => readonly Presence[];
  /** How people call the member at an address. */
  readonly nameOf: (address: string) => string;
  readonly send: (to: string, message: Message) => void;
  readonly onStatus: (text: string) => void;
  /** The offer stands. */
  readonly onOffered: (from: string, view: View) => void;
}

export class Offers {
  readonly #options: OffersOptions;
  /** An offer of a member whose presence has not come, or, where not everybody may wish, for a wish that has not. */
  #parked: { readonly from: string; readonly view: View } | undefined;

  constructor(options: OffersOptions) {
    this.#options = options;
  }

  take(from: string, view: View): void {
    const { rights, onStatus, onOffered } = this.#options;
    const members = this.#options.members();
    const by = members.find(({ address }) => address === from);
    if (!by || !(rights.isOpen('propose') || isWished(view, members))) this.#parked = { from, view };
    else {
      const refused = this.refuse(from, view);
      if (refused === undefined) onOffered(from, view);
      else onStatus(refused);
    }
  }

  /** Looks at what is parked: the roster has changed. */
  again(): void {
    const parked = this.#parked;
    this.#parked = undefined;
    if (parked) this.take(parked.from, parked.view);
  }

  /** What to tell of an offer that is not to be taken; its sender hears it too. */
  refuse(from: string, view: View): string | undefined {
    const { wishes, rights, members, nameOf, send } = this.#options;
    const reason = wishes.refusal(from, view, members(), rights.isOpen('propose'));
    if (reason === undefined) return undefined;
    send(from, { type: 'abandon', view: view.view, reason: reason.slice(0, 2000), end: 'failed' });
    return `an offer of ${nameOf(from)} was refused: ${reason}`;
  }
}
