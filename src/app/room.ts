// How this tab meets others: which carrier a room uses, who we say we are, and a fresh room.

import { RoomError } from '../base/errors.ts';
import { randomHex, realWorld } from '../base/world.ts';
import { broadcastChannelCarrier } from '../cluster/broadcast-channel.ts';
import { mqttCarrier } from '../cluster/mqtt.ts';
import type { Introduction, Role } from '../cluster/presence.ts';
import type { Carrier } from '../cluster/rendezvous.ts';
import { newRoomKey } from '../cluster/seal.ts';
import type { DeviceReport } from '../../workers/protocol.ts';
import type { RoomAddress } from './fragment.ts';
import { adapterName } from './run-view.ts';

const PROBE_MS = 3000;
const TAB_ID = 'tabmesh.tab';

export function newRoom(broker: string | undefined): RoomAddress {
  return { room: randomHex(realWorld, 6), key: newRoomKey(realWorld), ...(broker === undefined ? {} : { broker }) };
}

/** The broker that the link names; else the one of the page's own server; else the tabs of this browser alone. */
export async function chooseCarrier(broker: string | undefined): Promise<Carrier> {
  const world = realWorld;
  if (broker !== undefined && broker !== 'none') return mqttCarrier({ world, url: broker });
  // Beside the page, which may lie below a path of a proxy.
  const own = new URL('mqtt', document.baseURI).href.replace(/^http/, 'ws').replace(/#.*$/, '');
  if (broker === undefined && location.host) {
    if (await answers(own)) return mqttCarrier({ world, url: own });
    const refusal = await whyRefused();
    if (refusal !== undefined) throw new RoomError('broker', refusal);
  }
  return broadcastChannelCarrier({ world });
}

/** Whether a broker takes WebSockets there: a page from a folder of static files has none. */
function answers(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, 'mqtt');
    const end = (answer: boolean): void => {
      clearTimeout(timer);
      resolve(answer);
      socket.close();
    };
    const timer = setTimeout(() => end(false), PROBE_MS);
    socket.onopen = () => end(true);
    socket.onerror = () => end(false);
  });
}

/** A browser does not tell why a web socket was refused; a server of ours that does not know the name of its proxy says so to a post, too. undefined: it has no broker. */
async function whyRefused(): Promise<string | undefined> {
  try {
    const response = await fetch(new URL('mqtt', document.baseURI), { method: 'POST', signal: AbortSignal.timeout(PROBE_MS), cache: 'no-store', credentials: 'omit' });
    const text = response.status === 403 ? (await response.text()).trim() : '';
    return text.includes('--allow-host') ? text : undefined;
  } catch {
    // Nobody answers: a page from a folder, or a server that is away.
    return undefined;
  }
}

/** The id survives a reload, so that the room knows the tab again. Who only watches has opened no device. */
export function introduce(role: Role, report?: DeviceReport): Introduction {
  const id = sessionStorage.getItem(TAB_ID) ?? randomHex(realWorld, 8);
  sessionStorage.setItem(TAB_ID, id);
  return { id, name: `${browserName()} ${id.slice(0, 3)}`, role, ...(report ? adapterOf(report) : { adapter: '', software: false }) };
}

export function adapterOf(report: DeviceReport): Pick<Introduction, 'adapter' | 'software'> {
  return { adapter: adapterName(report).slice(0, 200), software: report.adapter.software };
}

function browserName(): string {
  const agent = navigator.userAgent;
  const browser = /Edg\//.test(agent) ? 'Edge' : /Firefox\//.test(agent) ? 'Firefox' : /Chrome\//.test(agent) ? 'Chrome' : /Safari\//.test(agent) ? 'Safari' : 'Browser';
  const system = /Android/.test(agent) ? 'Android' : /iPhone|iPad/.test(agent) ? 'iOS' : /Mac OS/.test(agent) ? 'macOS' : /Windows/.test(agent) ? 'Windows' : /Linux|CrOS/.test(agent) ? 'Linux' : '';
  return system ? `${browser} on ${system}` : browser;
}
