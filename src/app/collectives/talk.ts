// How the tabs of one bench hear of each other and signal: by a BroadcastChannel of this browser, or, for tabs of
// several browsers, in a room of the broker, sealed with the key of the link. Either tells at once, or within seconds,
// that a tab is gone: by the lock that it holds, or by the broker.

import { realWorld } from '../../base/world.ts';
import { joinRendezvous } from '../../cluster/rendezvous.ts';
import { holdTabLock, whenTabLockReleased } from '../../transport/tab-lock.ts';
import type { MeetBy } from '../../bench/collectives/link.ts';
import { chooseCarrier } from '../shared/choose-carrier.ts';

export interface Talk {
  /** For people: 'tabs of this browser', 'broker ws://...'. */
  readonly over: string;
  /** To the tab of this id, or to all others; in order. Also works in a page that is being closed. */
  tell(message: unknown, to?: string): void;
  close(): void;
}

export interface TalkEvents {
  onMessage(message: unknown): void;
  /** Somebody has come and may not have heard what was said before. */
  onPeer(): void;
  onGone(id: string): void;
}

export interface TalkAddress {
  readonly room: string;
  /** Only for the broker. */ readonly key: string | undefined;
}

/** Resolves when this tab hears the others; `id` names it. Rejects with a sentence. */
export function openTalk(meet: MeetBy, address: TalkAddress, id: string, events: TalkEvents): Promise<Talk> {
  return meet === 'broker' ? talkByBroker(address, id, events) : talkInBrowser(address.room, id, events);
}

async function talkInBrowser(room: string, id: string, { onMessage, onPeer, onGone }: TalkEvents): Promise<Talk> {
  const lockOf = (who: string): string => `tabmesh collectives bench ${room} ${who}`;
  // Before anybody hears of us: whoever is granted it takes us for gone.
  const release = await holdTabLock(lockOf(id)).catch(() => () => undefined);
  const closed = new AbortController();
  const channel = new BroadcastChannel(`tabmesh collectives bench ${room}`);
  const known = new Set<string>();
  channel.addEventListener(
    'message',
    ({ data }: MessageEvent<{ readonly from: string; readonly to?: string; readonly message?: unknown }>) => {
      const { from, to, message } = data;
      if (!known.has(from)) {
        known.add(from);
        whenTabLockReleased(lockOf(from), closed.signal, () => {
          known.delete(from);
          onGone(from);
        });
        onPeer();
      }
      if (message !== undefined && (to === undefined || to === id)) onMessage(message);
    },
  );
  channel.postMessage({ from: id });
  return {
    over: 'tabs of this browser',
    tell: (message, to) => channel.postMessage({ from: id, ...(to === undefined ? {} : { to }), message }),
    close: () => {
      closed.abort();
      channel.close();
      release();
    },
  };
}

async function talkByBroker(
  { room, key }: TalkAddress,
  id: string,
  { onMessage, onPeer, onGone }: TalkEvents,
): Promise<Talk> {
  const closed = new AbortController();
  const carrier = await chooseCarrier(undefined, {
    signal: closed.signal,
    onStatus: (text) => console.info(text),
    onNotice: (text) => {
      if (text !== undefined) console.warn(text);
    },
    onName: () => undefined,
  });
  /** Addresses by id. */
  let others: ReadonlyMap<string, string> = new Map();
  const joining = joinRendezvous(
    { world: realWorld, carrier, room, key: key!, me: { name: id, adapter: '', software: false, role: 'observer' } },
    {
      onPeers: (roster) => {
        const now = new Map(
          roster.filter((member) => member.name !== id).map((member) => [member.name, member.address]),
        );
        const before = others;
        others = now;
        for (const gone of before.keys()) if (!now.has(gone)) onGone(gone);
        if ([...now.keys()].some((one) => !before.has(one))) onPeer();
      },
      onSignal: (_from, payload) => onMessage(JSON.parse(new TextDecoder().decode(payload))),
      onStatus: (text) => console.info(text),
      onNotice: (text) => console.warn(text),
      onFatal: (error) => {
        for (const one of others.keys()) onGone(one);
        console.error(error);
      },
    },
  );
  // A carrier that found no broker would go on asking for one as long as the page is there.
  joining.catch(() => closed.abort());
  const meeting = await joining;
  return {
    over: carrier.name,
    tell: (message, to) => {
      const bytes = new TextEncoder().encode(JSON.stringify(message));
      for (const [one, address] of others) if (to === undefined || to === one) meeting.signal(address, bytes);
    },
    close: () => {
      closed.abort();
      void meeting.close();
    },
  };
}
