// A meeting of tabs: who gives up or is gone is not counted, whatever came before, and one that goes after all were
// known ends it for the others at once.

import { afterEach, expect, it } from 'vitest';
import { connectTabs } from '../../src/collectives/library/connect-tabs.ts';
import { meet } from '../../src/collectives/library/meeting.ts';
import type { Meeting } from '../../src/collectives/library/meeting.ts';

const rooms: BroadcastChannel[] = [];
afterEach(() => {
  for (const room of rooms.splice(0)) room.close();
});

interface Tab {
  readonly met: Promise<readonly string[]>;
  readonly id: string;
  expire(): void;
  vanish(id: string): void;
  said(word: string): Promise<void>;
}

let numbers = 0;

/** A tab whose clock and whose news of vanished tabs are ours. */
function tab(name: string, size: number): Tab {
  const room = new BroadcastChannel(name);
  const ear = new BroadcastChannel(name);
  rooms.push(room, ear);
  const id = (numbers++).toString(16).padStart(32, '0');
  let expire!: () => void;
  const watched = new Map<string, () => void>();
  const heard = new Set<string>();
  const waiting = new Map<string, () => void>();
  ear.addEventListener('message', (event) => {
    const { word, id: from } = (event as MessageEvent<{ word: string; id: string }>).data;
    if (from !== id) return;
    heard.add(word);
    waiting.get(word)?.();
  });
  const meeting: Meeting = {
    room,
    me: id,
    size,
    timeoutMs: 1000,
    known: () => undefined,
    timer: (_, fire) => {
      expire = fire;
      return () => undefined;
    },
    whenGone: (other, signal, then) => {
      watched.set(other, () => {
        if (!signal.aborted) then();
      });
    },
  };
  const met = meet(meeting);
  met.catch(() => {
    /* looked at by the test */
  });
  return {
    id,
    met,
    expire: () => expire(),
    vanish: (other) => watched.get(other)!(),
    said: (word) =>
      new Promise((resolve) => {
        if (heard.has(word)) resolve();
        else waiting.set(word, resolve);
      }),
  };
}

it('is not complete with one that has given up', async () => {
  const first = tab('gives-up', 2);
  await first.said('here');
  first.expire();
  await expect(first.met).rejects.toThrow('room: 1 of 2 tabs came within 1000 ms');
  await first.said('gone');
  const second = tab('gives-up', 2);
  const third = tab('gives-up', 2);
  expect(await second.met).toEqual([second.id, third.id]);
  expect(await third.met).toEqual([second.id, third.id]);
});

it('forgets one that gave up while another waits', async () => {
  const [first, second] = [tab('waits', 3), tab('waits', 3)];
  await Promise.all([first.said('here'), second.said('here')]);
  first.expire();
  await first.said('gone');
  // Without its good-bye the first would be counted as the third.
  const third = tab('waits', 3);
  await third.said('here');
  const fourth = tab('waits', 3);
  const all = [second.id, third.id, fourth.id].sort();
  expect(await Promise.all([second.met, third.met, fourth.met])).toEqual([all, all, all]);
});

it('forgets one that was closed without a word, and takes no late word of it', async () => {
  const first = tab('closed', 4);
  const ghost = new BroadcastChannel('closed');
  rooms.push(ghost);
  const id = 'f'.repeat(32);
  ghost.postMessage({ word: 'here', id });
  const second = tab('closed', 4);
  await second.said('here');
  first.vanish(id);
  ghost.postMessage({ word: 'ready', id });
  first.expire();
  await expect(first.met).rejects.toThrow('2 of 4 tabs came');
});

it('ends at once when one goes after all were known', async () => {
  const ghost = new BroadcastChannel('goes');
  rooms.push(ghost);
  const first = tab('goes', 2);
  ghost.postMessage({ word: 'here', id: 'f'.repeat(32) });
  await first.said('ready');
  ghost.postMessage({ word: 'gone', id: 'f'.repeat(32) });
  await expect(first.met).rejects.toMatchObject({ name: 'RoomError', trouble: 'closed' });
  await first.said('gone');
});

it('says how many were ready when all came and time ran out', async () => {
  const ghost = new BroadcastChannel('slow');
  rooms.push(ghost);
  const first = tab('slow', 2);
  ghost.postMessage({ word: 'here', id: 'f'.repeat(32) });
  await first.said('ready');
  first.expire();
  await expect(first.met).rejects.toThrow('all 2 tabs came, but only 1 were ready within 1000 ms');
});

it('takes only a number of tabs', async () => {
  for (const size of [0, -1, 1.5, NaN])
    await expect(connectTabs('none', size)).rejects.toThrow(`size: expected a number of tabs, got ${size}`);
});
