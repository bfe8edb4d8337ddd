import { afterEach, describe, expect, test } from 'vitest';
import { ConfigError } from '../../src/base/errors.ts';
import { realWorld, VirtualWorld } from '../../src/base/world.ts';
import { broadcastChannelCarrier } from '../../src/cluster/broadcast-channel.ts';
import type { Channel, Locks } from '../../src/cluster/broadcast-channel.ts';
import type { Presence } from '../../src/cluster/presence.ts';
import { joinRendezvous } from '../../src/cluster/rendezvous.ts';
import type { Carrier, Rendezvous, RendezvousOptions } from '../../src/cluster/rendezvous.ts';
import { twoCarriers } from '../../src/cluster/room/two-carriers.ts';
import { Events, introduction, MemoryHub, OTHER_KEY, ROOM_KEY } from './support.ts';

type Seen =
  | { readonly peers: readonly Presence[] }
  | { readonly from: string; readonly text: string }
  | { readonly status: string }
  | { readonly notice: string }
  | { readonly fatal: Error };
interface Member {
  readonly rendezvous: Rendezvous;
  readonly events: Events<Seen>;
}

const open: Rendezvous[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((rendezvous) => rendezvous.close()));
});

async function join(carrier: Carrier, n: number, options: Partial<RendezvousOptions> = {}): Promise<Member> {
  const events = new Events<Seen>();
  const rendezvous = await joinRendezvous(
    { world: realWorld, carrier, room: 'test', key: ROOM_KEY, me: introduction(n), settleMs: 250, ...options },
    {
      onPeers: (peers) => events.push({ peers }),
      onSignal: (from, payload) => events.push({ from, text: new TextDecoder().decode(payload) }),
      onStatus: (status) => events.push({ status }),
      onNotice: (notice) => events.push({ notice }),
      onFatal: (fatal) => events.push({ fatal }),
    },
  );
  open.push(rendezvous);
  return { rendezvous, events };
}

const sees = (member: Member, names: readonly string[]): Promise<Seen> =>
  member.events.find(
    (event) => 'peers' in event && JSON.stringify(event.peers.map(({ name }) => name)) === JSON.stringify(names),
  );
const notice = (member: Member, pattern: RegExp): Promise<Seen> =>
  member.events.find((event) => 'notice' in event && pattern.test(event.notice));
const says = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

/** The contract of every carrier that lives in this process. */
function contract(name: string, newRoom: () => () => Carrier): void {
  describe(name, () => {
    test('everybody sees everybody, oldest first, and who left is gone', async () => {
      const carrier = newRoom();
      const a = await join(carrier(), 0);
      const b = await join(carrier(), 1);
      const c = await join(carrier(), 2);
      for (const member of [a, b, c]) await sees(member, ['Tab 0', 'Tab 1', 'Tab 2']);
      expect([a, b, c].map(({ rendezvous }) => rendezvous.me.order)).toEqual([1, 2, 3]);
      await b.rendezvous.close();
      for (const member of [a, c]) await sees(member, ['Tab 0', 'Tab 2']);
    });

    test('signals reach their member alone, in order', async () => {
      const carrier = newRoom();
      const [a, b, c] = [await join(carrier(), 0), await join(carrier(), 1), await join(carrier(), 2)];
      const texts = Array.from({ length: 30 }, (_, i) => `signal ${i}`);
      for (const text of texts) a.rendezvous.signal(b.rendezvous.me.address, says(text));
      c.rendezvous.signal(b.rendezvous.me.address, says('from c'));
      await b.events.find((event) => 'text' in event && event.text === 'signal 29');
      await b.events.find((event) => 'text' in event && event.text === 'from c');
      expect(
        b.events.all.flatMap((event) =>
          'text' in event && event.from === a.rendezvous.me.address ? [event.text] : [],
        ),
      ).toEqual(texts);
      expect(c.events.all.some((event) => 'text' in event)).toBe(false);
    });

    test('who has another key is told so, as are the members; nobody hears the other', async () => {
      const carrier = newRoom();
      const a = await join(carrier(), 0);
      const stranger = await join(carrier(), 1, { key: OTHER_KEY });
      for (const member of [a, stranger])
        await notice(
          member,
          /^somebody in this room has a different key and is not heard .* copy the whole link from one of their tabs$/,
        );
      const b = await join(carrier(), 2);
      for (const member of [a, b]) await sees(member, ['Tab 0', 'Tab 2']);
      await sees(stranger, ['Tab 1']);
      for (const member of [a, b, stranger]) expect(member.events.all.some((event) => 'fatal' in event)).toBe(false);
    });
  });
}

contract('in memory', () => {
  const hub = new MemoryHub();
  return () => hub.carrier();
});

let rooms = 0;
const channelsOf =
  (room: string) =>
  (name: string): Channel => {
    const channel = new BroadcastChannel(`${room}/${name}`) as unknown as Channel & { unref(): void };
    channel.unref();
    return channel;
  };
contract('BroadcastChannel with heartbeats', () => {
  const openChannel = channelsOf(`contract-${rooms++}`);
  return () => broadcastChannelCarrier({ world: realWorld, locks: null, openChannel });
});

/** Web Locks: one holder per name, waiters in order, all given up when the tab dies. */
class MemoryLocks {
  readonly #queues = new Map<string, { tab: object; grant: () => void }[]>();
  of(tab: object): Locks {
    return {
      request: (name, { signal }, held) =>
        new Promise((resolve, reject) => {
          const queue = this.#queues.get(name) ?? [];
          this.#queues.set(name, queue);
          const entry = {
            tab,
            grant: () => {
              void held().then(() => {
                this.#remove(name, entry);
                resolve(undefined);
              });
            },
          };
          signal?.addEventListener('abort', () => {
            this.#remove(name, entry);
            reject(new DOMException('aborted', 'AbortError'));
          });
          queue.push(entry);
          if (queue[0] === entry) entry.grant();
        }),
    };
  }
  kill(tab: object): void {
    for (const [name, queue] of this.#queues)
      for (const entry of [...queue]) if (entry.tab === tab) this.#remove(name, entry);
  }
  #remove(name: string, entry: { tab: object; grant: () => void }): void {
    const queue = this.#queues.get(name)!;
    const at = queue.indexOf(entry);
    if (at < 0) return;
    queue.splice(at, 1);
    if (at === 0) queue[0]?.grant();
  }
}

contract('BroadcastChannel with locks', () => {
  const openChannel = channelsOf(`contract-${rooms++}`);
  const locks = new MemoryLocks();
  return () => broadcastChannelCarrier({ world: realWorld, locks: locks.of({}), openChannel });
});

test('a tab that dies without a word frees its lock and is gone', async () => {
  const openChannel = channelsOf(`dead-${rooms++}`);
  const locks = new MemoryLocks();
  const victim = {};
  const a = await join(broadcastChannelCarrier({ world: realWorld, locks: locks.of({}), openChannel }), 0);
  await join(broadcastChannelCarrier({ world: realWorld, locks: locks.of(victim), openChannel }), 1);
  await sees(a, ['Tab 0', 'Tab 1']);
  locks.kill(victim);
  expect(await sees(a, ['Tab 0'])).toBeDefined();
});

describe('heartbeats stand in for locks', () => {
  const twoTabs = async () => {
    const room = `beat-${rooms++}`;
    const world = new VirtualWorld();
    const gone: string[] = [];
    const carrier = broadcastChannelCarrier({
      world,
      locks: null,
      openChannel: channelsOf(room),
      heartbeatMs: 1000,
      silentMs: 5000,
    });
    const nothing = (): void => {};
    const handlers = {
      onHello: nothing,
      onPresence: nothing,
      onBye: nothing,
      onGone: (from: string) => gone.push(from),
      onSignal: nothing,
      onDown: nothing,
      onUp: nothing,
    };
    await carrier.open('test', 'a'.repeat(16), handlers);
    const other = channelsOf(room)('tabmesh/test');
    const heard = new Promise<void>((resolve) => {
      handlers.onHello = resolve;
    });
    other.postMessage({ kind: 'hello', from: 'b'.repeat(16), bytes: new Uint8Array(1) });
    await heard;
    carrier.watch('b'.repeat(16));
    return {
      world,
      gone,
      close: async () => {
        other.close();
        await carrier.close();
      },
    };
  };

  test('a silent tab is gone after silentMs', async () => {
    const { world, gone, close } = await twoTabs();
    await world.advance(5000);
    expect(gone).toEqual([]);
    await world.advance(1000);
    expect(gone).toEqual(['b'.repeat(16)]);
    await close();
    expect(world.pending).toBe(0);
  });

  test('a tab that was frozen itself blames nobody for the time it slept', async () => {
    const { world, gone, close } = await twoTabs();
    const { now } = world;
    let frozen = 0;
    world.now = () => now.call(world) + frozen;
    await world.advance(1500);
    frozen = 60_000;
    await world.advance(3000);
    expect(gone).toEqual([]);
    await world.advance(6000);
    expect(gone).toEqual(['b'.repeat(16)]);
    await close();
  });
});

test('tabs that enter an empty room at once are proven to each other', async () => {
  const hub = new MemoryHub();
  const members = await Promise.all([0, 1, 2, 3].map((n) => join(hub.carrier(), n)));
  for (const member of members) await member.events.find((event) => 'peers' in event && event.peers.length === 4);
});

test('what was changed on the way is dropped, and the sender is named', async () => {
  const hub = new MemoryHub();
  const [a, b] = [await join(hub.carrier(), 0), await join(hub.carrier(), 1)];
  await sees(a, ['Tab 0', 'Tab 1']);
  hub.tamper = (kind, bytes) => {
    const copy = bytes.slice();
    if (kind === 'signal') copy[40]! ^= 1;
    return copy;
  };
  b.rendezvous.signal(a.rendezvous.me.address, says('a long enough text to have a byte number 40'));
  await notice(a, new RegExp(b.rendezvous.me.address));
  expect(a.events.all.some((event) => 'text' in event)).toBe(false);
});

test('an entry of the store whose owner does not answer is on no roster', async () => {
  const hub = new MemoryHub();
  const stored: { readonly from: string; readonly bytes: Parameters<Carrier['announce']>[0] }[] = [];
  hub.tamper = (kind, bytes, from) => {
    if (kind === 'presence') stored.push({ from, bytes });
    return bytes;
  };
  const ghost = await join(hub.carrier(), 7);
  await sees(ghost, ['Tab 7']);
  // The broker of the second room still holds what the ghost said in the first.
  const other = new MemoryHub();
  const carrier = other.carrier();
  let hellos = 0;
  other.tamper = (kind, bytes) => {
    if (kind === 'hello') hellos++;
    return bytes;
  };
  const replaying: Carrier = {
    ...carrier,
    open: async (room, address, handlers) => {
      await carrier.open(room, address, handlers);
      for (const { from, bytes } of stored) handlers.onPresence(from, bytes, false);
    },
  };
  const b = await join(replaying, 1);
  const c = await join(other.carrier(), 2);
  await sees(b, ['Tab 1', 'Tab 2']);
  await expect.poll(() => hellos, { timeout: 10_000 }).toBeGreaterThan(2);
  for (const { events } of [b, c])
    expect(events.all.some((event) => 'peers' in event && event.peers.some(({ name }) => name === 'Tab 7'))).toBe(
      false,
    );
});

test('a join that fails leaves nothing open, and tells what failed first', async () => {
  const hub = new MemoryHub();
  const [near, lost] = [hub.carrier(), new Error('the broker is gone')];
  const far: Carrier = { ...hub.carrier(), open: () => Promise.reject(lost) };
  const closed: string[] = [];
  const both = twoCarriers({ near, far: Promise.resolve(far), waits: true });
  const failing: Carrier = {
    ...hub.carrier(),
    open: (...how) => both.open(...how),
    close: async (bye) => {
      await both.close(bye);
      closed.push('closed');
      throw new Error('what follows from it');
    },
  };
  let address = '';
  const open: Carrier['open'] = near.open;
  near.open = (room, mine, handlers) => open(room, (address = mine), handlers);
  await expect(join(failing, 0)).rejects.toBe(lost);
  expect([closed, hub.handlersOf(address)]).toEqual([['closed'], undefined]);
});

test('names and keys that cannot be right are refused before anything is sent', async () => {
  const carrier = new MemoryHub().carrier();
  await expect(join(carrier, 0, { room: 'a/b' })).rejects.toThrow(ConfigError);
  await expect(join(carrier, 0, { room: '#' })).rejects.toThrow(ConfigError);
  await expect(join(carrier, 0, { key: 'short' })).rejects.toThrow(/copy the whole link/);
});
