// Two tabs' worth of session in one page: BroadcastChannel, Web Locks and WebRTC of a real browser.

import { afterEach, describe, expect, test } from 'vitest';
import { realWorld } from '../../src/base/world.ts';
import { broadcastChannelCarrier } from '../../src/cluster/broadcast-channel.ts';
import { newRoomKey } from '../../src/cluster/seal.ts';
import { joinRoom } from '../../src/cluster/session.ts';
import type { Session, SessionOptions } from '../../src/cluster/session.ts';
import type { Wire } from '../../src/transport/transport.ts';
import { introduction, SessionEvents } from './support.ts';

const key = newRoomKey(realWorld);
let rooms = 0;
const sessions: Session[] = [];
afterEach(async () => {
  await Promise.all(sessions.splice(0).map((session) => session.close()));
});

async function open(
  room: string,
  n: number,
  options: Partial<SessionOptions> = {},
): Promise<{ session: Session; events: SessionEvents }> {
  const events = new SessionEvents();
  const session = await joinRoom({
    world: realWorld,
    carrier: broadcastChannelCarrier({ world: realWorld }),
    room,
    key,
    me: introduction(n),
    onEvent: events.push,
    settleMs: 100,
    ...options,
  });
  sessions.push(session);
  return { session, events };
}

const received = (wire: Wire): Promise<Uint8Array> =>
  new Promise((resolve) => {
    wire.onMessage = resolve;
  });
const wanted = (worldSize: number): { wanted: { worldSize: number; plan: unknown } } => ({
  wanted: { worldSize, plan: { steps: 3 } },
});

test('two sessions meet, connect over WebRTC and exchange bytes on both lanes', async () => {
  const room = `browser-${rooms++}`;
  const a = await open(room, 0, wanted(2));
  const b = await open(room, 1);
  const [first, second] = await Promise.all([a.events.started(), b.events.started()]);
  expect([first.place.rank, second.place.rank]).toEqual([0, 1]);
  expect(second.place).toMatchObject({
    worldSize: 2,
    plan: { steps: 3 },
    run: first.place.run,
    view: first.place.view,
  });
  for (const [event, peer] of [
    [first, 1],
    [second, 0],
  ] as const) {
    const { control, bulk } = event.lanes.get(peer)!;
    expect([control.label, control.id, bulk.label, bulk.id]).toEqual(['control', 10, 'bulk', 11]);
    expect(
      [control, bulk].map((channel) => [channel.readyState, channel.ordered, channel.negotiated, channel.binaryType]),
    ).toEqual(Array(2).fill(['open', true, true, 'arraybuffer']));
  }
  expect([...(await a.session.routes())]).toEqual([[1, expect.stringMatching(/^(host|prflx)$/)]]);
  const payload = crypto.getRandomValues(new Uint8Array(64 * 1024));
  for (const lane of ['control', 'bulk'] as const) {
    const [there, back] = [received(second.wires.get(0)![lane]), received(first.wires.get(1)![lane])];
    first.wires.get(1)![lane].send(payload);
    second.wires.get(0)![lane].send(payload.slice().reverse());
    expect(await there).toEqual(payload);
    expect(await back).toEqual(payload.slice().reverse());
  }
});

test('four sessions connect all to all', async () => {
  const room = `browser-${rooms++}`;
  const group = await Promise.all([0, 1, 2, 3].map((n) => open(room, n, wanted(4))));
  const started = await Promise.all(group.map(({ events }) => events.started()));
  expect(started.map(({ place }) => place.rank).sort()).toEqual([0, 1, 2, 3]);
  for (const { place, wires } of started)
    expect([...wires.keys()].sort()).toEqual([0, 1, 2, 3].filter((rank) => rank !== place.rank));
});

describe('leaving', () => {
  test('closes the channels of the others and takes the tab off their roster', async () => {
    const room = `browser-${rooms++}`;
    const [a, b] = [await open(room, 0, wanted(2)), await open(room, 1)];
    const [{ wires }] = await Promise.all([a.events.started(), b.events.started()]);
    const closed = new Promise<string>((resolve) => {
      wires.get(1)!.control.onClose = resolve;
    });
    await b.session.close();
    expect(await closed).toMatch(/Close called|closed/);
    expect(await a.events.find((event) => event.type === 'lost')).toMatchObject({ rank: 1, member: { name: 'Tab 1' } });
  });

  test('a thread that is ended without a word is noticed through its lock', async () => {
    const room = `browser-${rooms++}`;
    const a = await open(room, 0);
    const thread = new Worker(new URL('./member-worker.ts', import.meta.url), { type: 'module' });
    const answer = new Promise<string>((resolve, reject) => {
      thread.onmessage = ({ data }) => resolve(String(data));
      thread.onerror = (event) => reject(new Error(event.message));
    });
    thread.postMessage({ room, key });
    expect(await answer).toBe('joined');
    await a.events.members(2);
    a.events.all.length = 0;
    thread.terminate();
    await a.events.members(1);
  });
});

describe('moving the channels to a worker', () => {
  const worker = (): {
    worker: Worker;
    adopt: NonNullable<SessionOptions['adopt']>;
    echo: (bytes: Uint8Array<ArrayBuffer>) => Promise<unknown>;
  } => {
    const code = `
      const channels = [];
      onmessage = ({ data }) => {
        if (data.send) { channels[0].send(data.send); return; }
        const channel = data.channel;
        channels.push(channel);
        channel.binaryType = 'arraybuffer';
        channel.onmessage = (event) => postMessage({ received: event.data });
        if (channel.readyState === 'open') postMessage({ open: true });
        else channel.onopen = () => postMessage({ open: true });
      };`;
    const thread = new Worker(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
    const told = new SessionEvents() as unknown as {
      push(event: unknown): void;
      all: unknown[];
      find(check: (event: unknown) => boolean): Promise<unknown>;
    };
    thread.onmessage = ({ data }) => told.push(data);
    return {
      worker: thread,
      adopt: (_, { control, bulk }) => {
        // In the task of their creation, or the browser refuses.
        for (const channel of [control, bulk]) thread.postMessage({ channel }, [channel as unknown as Transferable]);
        return told
          .find(() => told.all.filter((event) => (event as { open?: true }).open).length === 2)
          .then(() => undefined);
      },
      echo: (bytes) => {
        thread.postMessage({ send: bytes });
        return told.find((event) => (event as { received?: ArrayBuffer }).received !== undefined);
      },
    };
  };

  test('adopt may transfer them; the session starts when the workers see them open, and bytes pass between workers', async () => {
    const room = `browser-${rooms++}`;
    const [left, right] = [worker(), worker()];
    const a = await open(room, 0, { ...wanted(2), adopt: left.adopt });
    const b = await open(room, 1, { adopt: right.adopt });
    await Promise.all([a.events.started(), b.events.started()]);
    const bytes = new Uint8Array([1, 2, 3, 4]);
    const [got] = await Promise.all([right.echo(bytes), left.echo(bytes)]);
    expect(new Uint8Array((got as { received: ArrayBuffer }).received)).toEqual(bytes);
    left.worker.terminate();
    right.worker.terminate();
  });
});

test('channels handed to a worker too late are refused by the browser, and everybody hears the reason', async () => {
  const room = `browser-${rooms++}`;
  const thread = new Worker(URL.createObjectURL(new Blob([''], { type: 'text/javascript' })));
  const late: SessionOptions['adopt'] = async (_, { control }) => {
    await new Promise((opened) => {
      control.addEventListener('open', opened, { once: true });
    });
    thread.postMessage({ control }, [control as unknown as Transferable]);
  };
  const [a, b] = [await open(room, 0, { ...wanted(2), adopt: late }), await open(room, 1, { adopt: late })];
  for (const { events } of [a, b])
    expect((await events.failed()).error.message).toMatch(
      /^room: 3 attempts to connect failed: rank 0 \(Tab 0\) <-> rank 1 \(Tab 1\): /,
    );
  await a.events.status(/no longer transferable/);
  thread.terminate();
});

test('an attempt whose signals are all lost is repeated by the barrier, and then succeeds', async () => {
  const room = `browser-${rooms++}`;
  const { createWebRtcConnections } = await import('../../src/cluster/webrtc-connections.ts');
  const muted: SessionOptions['createConnections'] = (options) =>
    createWebRtcConnections({
      ...options,
      onSignal: (peer, attempt, data) => {
        if (attempt > 1) options.onSignal(peer, attempt, data);
      },
    });
  const a = await open(room, 0, { ...wanted(2), createConnections: muted, deadlineMs: 1500 });
  const b = await open(room, 1, { createConnections: muted, deadlineMs: 1500 });
  await a.events.status(/attempt 2 of 3/);
  await Promise.all([a.events.started(), b.events.started()]);
});
