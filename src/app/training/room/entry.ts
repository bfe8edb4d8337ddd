// How this page enters a room: with its identity, over a carrier, and with the sentences that stay true while it is
// there.

import type { Identity } from '../../../cluster/identity/keys.ts';
import type { Rules } from '../../../cluster/room/laws.ts';
import type { Session, SessionEvent, SessionOptions } from '../../../cluster/session.ts';
import type { Carrier } from '../../../cluster/rendezvous.ts';
import type { RoomAddress } from '../fragment.ts';
import { chooseCarrier } from '../../shared/choose-carrier.ts';
import { tabIdentity } from './identity.ts';
import { nameOf, rulesSentence } from './names.ts';
import type { RoomState } from './page-state.ts';

export interface EntryContext {
  readonly room: () => RoomState | undefined;
  readonly change: (change: Partial<RoomState>) => void;
  readonly onStatus: (text: string) => void;
  readonly session: () => Session | undefined;
  /** Ends the link to a rank of our run, and so the run, with its name. */
  readonly accuse: (rank: number, what: string) => void;
}

export interface Entered {
  readonly carrier: Carrier;
  readonly identity: Identity;
  readonly law: Pick<SessionOptions, 'owner'>;
}

const MAX_NOTICES = 5;

export class RoomEntry {
  readonly #context: EntryContext;
  /** Aborted when the page has left the room, or is not let in. */
  #visit = new AbortController();

  constructor(context: EntryContext) {
    this.#context = context;
  }

  /** A visit begins; what it returns is aborted when it is over. */
  begin(): AbortSignal {
    this.leave();
    this.#visit = new AbortController();
    return this.#visit.signal;
  }

  /**
   * Rejects with RoomError when the page's server refuses, with ConfigError where the page has no WebCrypto, and when
   * the visit `signal` is over.
   */
  async enter(address: RoomAddress, signal: AbortSignal): Promise<Entered> {
    const { change, onStatus } = this.#context;
    const { identity, notes } = await tabIdentity();
    signal.throwIfAborted();
    change({ notices: notes });
    let told: string | undefined;
    const carrier = await chooseCarrier(address.broker, {
      signal,
      onStatus,
      onName: (name) => change({ carrier: name }),
      onNotice: (text) => {
        this.notice(text, told);
        told = text;
      },
    });
    signal.throwIfAborted();
    change({ carrier: carrier.name });
    return { carrier, identity, law: address.owner === undefined ? {} : { owner: address.owner } };
  }

  /** Adds a sentence, instead of `old`. */
  notice(text: string | undefined, old?: string): void {
    const kept = (this.#context.room()?.notices ?? []).filter((known) => known !== text && known !== old);
    this.#context.change({ notices: text === undefined ? kept : [...kept, text].slice(-MAX_NOTICES) });
  }

  heard(event: Extract<SessionEvent, { type: 'notice' | 'rules' | 'removed' }>): void {
    if (event.type === 'notice') return this.notice(event.text);
    const { change, onStatus, session, accuse } = this.#context;
    if (event.type === 'rules') {
      change(this.rights() ?? {});
      return onStatus(`the owner of this room says: ${rulesSentence(event.rules)}`);
    }
    const { who, rank, by } = event;
    const me = session()?.me;
    const text = `${by ? nameOf(by, me) : 'somebody who may'} removed ${who?.name ?? 'a tab that has left'} from the room`;
    onStatus(text);
    // Whoever does not go by itself is cut off by those who compute with it.
    if (rank >= 0) accuse(rank, text);
  }

  /** What holds in the room now. */
  rights(): Pick<RoomState, 'rules' | 'may'> | undefined {
    const session = this.#context.session();
    return (
      session && {
        rules: session.rules,
        may: { propose: session.may('propose'), act: session.may('act'), remove: session.may('remove') },
      }
    );
  }

  decree(rules: Rules): void {
    this.#context.session()?.decree(rules);
  }

  remove(address: string): void {
    this.#context.session()?.remove(address);
  }

  leave(): void {
    this.#visit.abort();
  }
}
