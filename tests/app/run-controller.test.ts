// The life of a page, without a browser: who leaves a room while it is joined is not in it afterwards, whatever the
// page does next.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { realWorld } from '../../src/base/world.ts';
import { broadcastChannelCarrier } from '../../src/cluster/broadcast-channel.ts';
import { NO_ICE } from '../../src/cluster/ice/servers.ts';
import { joinRoom } from '../../src/cluster/session.ts';
import { createReporter } from '../../src/app/training/reporter.ts';
import { RunController } from '../../src/app/training/run-controller.ts';
import type { PageState } from '../../src/app/training/room/page-state.ts';
import { fakeConnections, introduction, ROOM_KEY, SessionEvents } from '../cluster/support.ts';

const open: { close(): Promise<void> }[] = [];
beforeEach(() => {
  vi.stubGlobal('location', { host: '' });
  vi.stubGlobal('navigator', { userAgent: 'Firefox/1' });
  vi.stubGlobal('sessionStorage', { getItem: () => null, setItem: () => {}, removeItem: () => {} });
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((member) => member.close()));
  vi.unstubAllGlobals();
});

const at = (room: string) => ({ room, key: ROOM_KEY, broker: 'none' });

/** A page; `on` hears of every change of its state. */
function page(on: (state: PageState) => void = () => {}): RunController {
  const controller = new RunController({
    settings: { auto: false, backend: 'cpu', ice: NO_ICE, lane: 'webrtc' },
    page: 'http://localhost/',
    onChange: (state) => on(state),
    reporter: createReporter(
      () => {},
      () => undefined,
    ),
  });
  open.push({ close: () => controller.leaveRoom() });
  return controller;
}

/** A member of the room, and all that it sees there. */
async function neighbour(room: string): Promise<SessionEvents> {
  const events = new SessionEvents();
  const carrier = broadcastChannelCarrier({ world: realWorld });
  const session = await joinRoom({
    world: realWorld,
    carrier,
    room,
    key: ROOM_KEY,
    me: introduction(1),
    onEvent: events.push,
    page: null,
    createConnections: fakeConnections(),
  });
  open.push(session);
  return events;
}

/** How many members the room has once one more has come, who hears all that are there. */
async function membersOf(room: string): Promise<number> {
  const events = await neighbour(room);
  const last = events.all.filter((event) => event.type === 'roster').at(-1)!;
  return last.members.length;
}

describe('a page that leaves its room while it joins', () => {
  const moments: readonly (readonly [string, (controller: RunController) => Promise<void>])[] = [
    ['before it knows its identity', () => Promise.resolve()],
    [
      'while it listens who is there',
      async (controller) => {
        await expect.poll(() => controller.state.room?.carrier).not.toBe('');
      },
    ],
  ];
  for (const leave of ['stop', 'leaveRoom'] as const) {
    it.each(moments)(`is in no room afterwards: ${leave} %s`, async (moment, reached) => {
      const room = `left-${leave}-${moment.length}`;
      const controller = page();
      const joining = controller.join(at(room), undefined, 'observer');
      await reached(controller);
      expect(controller.state.room?.joined).toBe(false);
      void controller[leave]();
      await joining;
      expect(controller.state).toMatchObject({ phase: 'idle', status: 'left the room', room: undefined, problems: [] });
      expect(await membersOf(room)).toBe(1);
    });
  }

  it('may join another, which the first does not disturb', async () => {
    const controller = page();
    const first = controller.join(at('first'), undefined, 'observer');
    await controller.leaveRoom();
    const second = controller.join(at('second'), undefined, 'observer');
    await Promise.all([first, second]);
    expect(controller.state).toMatchObject({
      phase: 'idle',
      problems: [],
      room: { address: { room: 'second' }, joined: true },
    });
    await (await neighbour('second')).members(2);
    expect(await membersOf('first')).toBe(1);
  });
});
