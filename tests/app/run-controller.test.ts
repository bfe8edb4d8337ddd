// The life of a page, without a browser: who leaves a room while it is joined is not in it afterwards, whatever the
// page does next, and who leaves or stops while the device is chosen or looked at has none afterwards.

import { expose } from 'comlink';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { realWorld } from '../../src/base/world.ts';
import { broadcastChannelCarrier } from '../../src/cluster/broadcast-channel.ts';
import { NO_ICE } from '../../src/cluster/ice/servers.ts';
import { joinRoom } from '../../src/cluster/session.ts';
import { Hosts } from '../../src/app/training/life/hosts.ts';
import { makeJob } from '../../src/app/training/job.ts';
import { createReporter } from '../../src/app/training/reporter.ts';
import { RunController } from '../../src/app/training/run-controller.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { BackendSetting, NewRank } from '../../workers/protocol.ts';
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

function page(backend: BackendSetting = 'cpu'): RunController {
  const controller = new RunController({
    settings: { auto: false, backend, ice: NO_ICE, lane: 'webrtc' },
    page: 'http://localhost/',
    onChange: () => {},
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

/** The workers that the page has made; each opens a device at once. */
function workers() {
  const made: { alive: boolean }[] = [];
  class FakeWorker {
    alive = true;
    #port: MessagePort | undefined;
    constructor() {
      made.push(this);
    }
    addEventListener(): void {}
    postMessage({ rank }: NewRank): void {
      this.#port = rank;
      expose({ open: () => ({ adapter: {}, kind: 'cpu' }), leave: () => undefined }, rank);
    }
    terminate(): void {
      this.alive = false;
      this.#port?.close();
    }
  }
  vi.stubGlobal('Worker', FakeWorker);
  return made;
}

/** A browser that takes its time to say whether it has a GPU; it has a fast one. */
function slowGpu() {
  let say = (): void => {};
  const said = new Promise<object>((resolve) => {
    say = () => resolve({ info: { vendor: 'nvidia', architecture: 'ada', device: '', description: '' } });
  });
  const requestAdapter = vi.fn(() => said);
  vi.stubGlobal('navigator', { userAgent: 'Firefox/1', gpu: { requestAdapter } });
  return { requestAdapter, say };
}

describe('a page that leaves or stops before its device is open', () => {
  const job = makeJob(parseRunConfig([['data', 'copy']]));

  it('opens none for a run on virtual devices', async () => {
    const [made, { requestAdapter, say }] = [workers(), slowGpu()];
    const controller = page('auto');
    const training = controller.trainHere(job);
    await expect.poll(() => requestAdapter.mock.calls.length).toBe(1);
    controller.stop();
    say();
    await training;
    expect(made).toEqual([]);
    expect(controller.state).toMatchObject({ phase: 'idle', status: 'stopped before the first step', problems: [] });
  });

  it.each(['stop', 'leaveRoom'] as const)('has none in a room that it joins: %s', async (leave) => {
    const [made, { requestAdapter, say }] = [workers(), slowGpu()];
    const controller = page('auto');
    const joining = controller.join(at(`device-${leave}`));
    await expect.poll(() => requestAdapter.mock.calls.length).toBe(1);
    void controller[leave]();
    say();
    await joining;
    await expect.poll(() => made.map(({ alive }) => alive)).toEqual([false]);
    expect(controller.state).toMatchObject({ phase: 'idle', status: 'left the room', room: undefined, problems: [] });
  });

  it('has none in a room that it is in, and lends none to it', async () => {
    const [made, { requestAdapter, say }] = [workers(), slowGpu()];
    const controller = page('auto');
    await controller.join(at('lends'), undefined, 'observer');
    const helping = controller.help();
    await expect.poll(() => requestAdapter.mock.calls.length).toBe(1);
    await controller.leaveRoom();
    say();
    await helping;
    await expect.poll(() => made.map(({ alive }) => alive)).toEqual([false]);
    expect(controller.state.problems).toEqual([]);
  });

  it('has none for a view that it was to prepare', async () => {
    const made = workers();
    const hosts = new Hosts();
    await hosts.open('cpu');
    const kept = hosts.first!;
    let quiet = (_serves: boolean): void => {};
    const ready = new Promise<boolean>((resolve) => {
      quiet = resolve;
    });
    vi.spyOn(kept, 'ready').mockReturnValue(ready);
    const over = new AbortController();
    const served = hosts.serve('cpu', over.signal);
    over.abort();
    hosts.close();
    quiet(false);
    await expect(served).rejects.toBe(over.signal.reason);
    await expect.poll(() => made.map(({ alive }) => alive)).toEqual([false]);
    expect(hosts.all).toEqual([]);
  });
});
