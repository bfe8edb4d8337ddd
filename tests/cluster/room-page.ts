// A tab for rooms.tabs.test.ts and turn.tabs.test.ts: the address says how to join, `window.member` says what happened.
// room-page.html?carrier=mqtt|tabs&n=0&worldSize=2&deadlineMs=10000&maxAttempts=3#room=x&key=y&ice=...&turnuser=...&turnpass=...&relay=only

import { realWorld } from '../../src/base/world.ts';
import { broadcastChannelCarrier } from '../../src/cluster/broadcast-channel.ts';
import { mqttCarrier } from '../../src/cluster/mqtt.ts';
import { readIce } from '../../src/cluster/ice/servers.ts';
import { joinRoom } from '../../src/cluster/session.ts';
import type { Session } from '../../src/cluster/session.ts';
import { introduction, SessionEvents } from './support.ts';

const query = new URLSearchParams(location.search);
const fragment = new URLSearchParams(location.hash.slice(1));
const events = new SessionEvents();
const carrier =
  query.get('carrier') === 'mqtt'
    ? mqttCarrier({ world: realWorld, url: `ws://${location.host}/mqtt`, graceMs: 500 })
    : broadcastChannelCarrier({ world: realWorld });
const worldSize = Number(query.get('worldSize'));
const given = (name: string): string | undefined => fragment.get(name) ?? undefined;
const ice = readIce({
  ice: given('ice'),
  turnuser: given('turnuser'),
  turnpass: given('turnpass'),
  relay: given('relay'),
});

const joined = joinRoom({
  world: realWorld,
  carrier,
  room: fragment.get('room') ?? '',
  key: fragment.get('key') ?? '',
  me: introduction(Number(query.get('n'))),
  onEvent: events.push,
  ice: () => ice,
  deadlineMs: Number(query.get('deadlineMs') ?? 60_000),
  maxAttempts: Number(query.get('maxAttempts') ?? 3),
  ...(worldSize > 0 ? { wanted: { worldSize, plan: 'tabs' } } : {}),
});

const member = {
  joined: () =>
    joined.then(
      (session) => session.me.order,
      (error: Error) => error.message,
    ),
  roster: async (names: string) => {
    await events.find((event) => event.type === 'roster' && event.members.map(({ name }) => name).join(', ') === names);
  },
  started: async () => (await events.started()).place.rank,
  /** Sends `text` to every other rank and resolves with what came from them, in rank order. */
  exchange: async (text: string) => {
    const { wires } = await events.started();
    const inbox = [...wires]
      .sort(([a], [b]) => a - b)
      .map(
        ([, { bulk }]) =>
          new Promise<string>((resolve) => {
            bulk.onMessage = (bytes) => resolve(new TextDecoder().decode(bytes));
          }),
      );
    for (const { bulk } of wires.values()) bulk.send(new TextEncoder().encode(text));
    return Promise.all(inbox);
  },
  /** What the connection doctor says of the other ranks now. */
  examine: async () => {
    await ((await joined) as Session).examine();
    const last = events.all.findLast((event) => event.type === 'connections');
    return last?.type === 'connections' ? [...last.diagnoses.values()] : [];
  },
  lost: async () => {
    const event = await events.find((found) => found.type === 'lost');
    return event.type === 'lost' ? event.member.name : '';
  },
  notice: async () => {
    const event = await events.notice(/./);
    return event.type === 'notice' ? event.text : '';
  },
  failed: async () => {
    const { error, fatal } = await events.failed();
    return { message: error.message, fatal };
  },
};
declare global {
  interface Window {
    member: typeof member;
  }
}
window.member = member;
