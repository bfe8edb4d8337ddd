// How the tabs of one bench find each other, without a browser: what a stop and a room that cannot be joined leave
// behind.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AbortedError, RoomError } from '../../src/base/errors.ts';
import { Host } from '../../src/app/collectives/room.ts';
import { openTalk } from '../../src/app/collectives/talk.ts';
import type { Talk } from '../../src/app/collectives/talk.ts';
import { chooseCarrier } from '../../src/app/shared/choose-carrier.ts';
import type { Carrier } from '../../src/cluster/rendezvous.ts';

vi.mock('../../src/app/collectives/rank-page.ts', () => ({ RankPage: class {} }));
vi.mock('../../src/app/shared/choose-carrier.ts', () => ({ chooseCarrier: vi.fn() }));

beforeEach(() => {
  vi.stubGlobal('addEventListener', () => undefined);
});
afterEach(() => {
  vi.unstubAllGlobals();
});

const settings = { tuneMs: 0, transport: 'webrtc', meet: 'broker' } as const;

describe('a stop while the room is opened', () => {
  it('ends the wait at once; the room is left when it opens after all, and the next run opens another', async () => {
    const open: ((talk: Talk) => void)[] = [];
    const host = new Host(
      () =>
        new Promise((resolve) => {
          open.push(resolve);
        }),
    );
    const [first, second] = [new AbortController(), new AbortController()];
    const close = vi.fn();
    const talk = { over: 'a broker', tell: () => undefined, close };
    const meeting = host.meet(2, settings, first.signal, () => undefined);
    first.abort();
    await expect(meeting).rejects.toThrow(AbortedError);
    const missing: number[] = [];
    const next = host.meet(2, settings, second.signal, (tabs) => missing.push(tabs));
    open[1]!({ ...talk, close: () => undefined });
    await expect.poll(() => missing).toEqual([1]);
    open[0]!(talk);
    await expect.poll(() => close.mock.calls.length).toBe(1);
    second.abort();
    await expect(next).rejects.toThrow(AbortedError);
    expect(open).toHaveLength(2);
  });
});

describe('a room of the broker that cannot be joined', () => {
  it('is not looked for any more', async () => {
    const refused = {
      name: 'none',
      graceMs: 0,
      open: () => Promise.reject(new RoomError('broker', 'no broker')),
      close: async () => undefined,
    };
    vi.mocked(chooseCarrier).mockResolvedValue(refused as unknown as Carrier);
    const events = { onMessage: () => undefined, onPeer: () => undefined, onGone: () => undefined };
    const talk = openTalk('broker', { room: 'r1', key: 'AAAAAAAAAAAAAAAAAAAAAA' }, 'me', events);
    await expect(talk).rejects.toThrow('no broker');
    expect(vi.mocked(chooseCarrier).mock.calls[0]![1].signal.aborted).toBe(true);
  });
});
