// Who this tab says it is, and a fresh room.

import { randomHex, realWorld } from '../../../base/world.ts';
import type { Identity } from '../../../cluster/identity/keys.ts';
import type { Introduction, Role } from '../../../cluster/presence.ts';
import { newRoomKey } from '../../../cluster/seal.ts';
import type { DeviceReport } from '../../../../workers/protocol.ts';
import { knownIdentity } from './identity.ts';
import type { RoomAddress } from '../fragment.ts';
import { tabName } from '../link/tab-name.ts';
import { adapterName } from '../run-view.ts';

/** A fresh room, whose owner is this tab. */
export function newRoom(broker: string | undefined): RoomAddress {
  const owner = knownIdentity();
  return {
    room: randomHex(realWorld, 6),
    key: newRoomKey(realWorld),
    ...(broker === undefined ? {} : { broker }),
    ...(owner === undefined ? {} : { owner }),
  };
}

/** Who only watches has opened no device. The first digits of the identity tell tabs of one browser apart. */
export function introduce(role: Role, { id }: Pick<Identity, 'id'>, report?: DeviceReport): Introduction {
  return { name: shownName(id), role, ...(report ? adapterOf(report) : { adapter: '', software: false }) };
}

export function adapterOf(report: DeviceReport): Pick<Introduction, 'adapter' | 'software'> {
  return { adapter: adapterName(report).slice(0, 200), software: report.adapter.software };
}

/** What the person calls this tab, or its browser; the first digits of its identity tell equal names apart. */
export function shownName(id: string): string {
  return `${tabName(() => sessionStorage) || browserName()} ${id.slice(0, 3)}`;
}

function browserName(): string {
  const agent = navigator.userAgent;
  const browser = /Edg\//.test(agent)
    ? 'Edge'
    : /Firefox\//.test(agent)
      ? 'Firefox'
      : /Chrome\//.test(agent)
        ? 'Chrome'
        : /Safari\//.test(agent)
          ? 'Safari'
          : 'Browser';
  const system = /Android/.test(agent)
    ? 'Android'
    : /iPhone|iPad/.test(agent)
      ? 'iOS'
      : /Mac OS/.test(agent)
        ? 'macOS'
        : /Windows/.test(agent)
          ? 'Windows'
          : /Linux|CrOS/.test(agent)
            ? 'Linux'
            : '';
  return system ? `${browser} on ${system}` : browser;
}
