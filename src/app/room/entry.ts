// How this page enters a room: with its identity, over a carrier, and with the sentences that stay true while it is there.

import type { Identity } from '../../cluster/identity/keys.ts';
import type { Carrier } from '../../cluster/rendezvous.ts';
import type { RoomAddress } from '../fragment.ts';
import { chooseCarrier } from '../room.ts';
import { tabIdentity } from './identity.ts';
import type { RoomState } from './page-state.ts';

export interface EntryContext {
  readonly room: () => RoomState | undefined;
  readonly change: (change: Partial<RoomState>) => void;
  readonly onStatus: (text: string) => void;
}

const MAX_NOTICES = 5;

export class RoomEntry {
  readonly #context: EntryContext;
  /** Ends the search for a broker. */
  #search = new AbortController();

  constructor(context: EntryContext) { this.#context = context; }

  /** Rejects with RoomError when the page's server refuses, with ConfigError where the page has no WebCrypto. */
  async enter(address: RoomAddress): Promise<{ readonly carrier: Carrier; readonly identity: Identity }> {
    const { change, onStatus } = this.#context;
    this.leave();
    const { signal } = this.#search = new AbortController();
    const { identity, notes } = await tabIdentity();
    change({ notices: notes });
    let told: string | undefined;
    const carrier = await chooseCarrier(address.broker, {
      signal, onStatus, onName: (name) => change({ carrier: name }),
      onNotice: (text) => {
        this.notice(text, told);
        told = text;
      },
    });
    change({ carrier: carrier.name });
    return { carrier, identity };
  }

  /** Adds a sentence, instead of `old`. */
  notice(text: string | undefined, old?: string): void {
    const kept = (this.#context.room()?.notices ?? []).filter((known) => known !== text && known !== old);
    this.#context.change({ notices: text === undefined ? kept : [...kept, text].slice(-MAX_NOTICES) });
  }

  leave(): void { this.#search.abort(); }
}
