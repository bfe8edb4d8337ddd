// <connection-doctor> in a browser: nothing without connections, one line when all is well, open with advice when
// something is wrong; and real connections through a session.

import { afterEach, describe, expect, test } from 'vitest';
import { viewConnections } from '../../src/app/training/connections.ts';
import { ConnectionDoctor } from '../../src/app/training/elements/connection-doctor.ts';
import { realWorld } from '../../src/base/world.ts';
import { broadcastChannelCarrier } from '../../src/cluster/broadcast-channel.ts';
import { diagnose } from '../../src/cluster/ice/diagnosis.ts';
import type { IceSnapshot } from '../../src/cluster/ice/diagnosis.ts';
import { readIce } from '../../src/cluster/ice/servers.ts';
import { newRoomKey } from '../../src/cluster/seal.ts';
import { joinRoom } from '../../src/cluster/session.ts';
import type { Session, SessionOptions } from '../../src/cluster/session.ts';
import { introduction, SessionEvents } from '../cluster/support.ts';

const host = { type: 'host', protocol: 'udp', mdns: false };
const lost: IceSnapshot = {
  waitedMs: 9000,
  servers: ['turn:t.example:3478'],
  relayOnly: false,
  gathering: 'complete',
  state: 'checking',
  answered: true,
  local: [host],
  remote: [host],
  pairs: [{ local: 'host', remote: 'host', state: 'failed', sent: 9, answered: 0 }],
  errors: [{ url: 'turn:t.example:3478', code: 401, text: 'Unauthorized' }],
};
const well: IceSnapshot = {
  ...lost,
  state: 'connected',
  errors: [],
  route: { local: 'host', remote: 'host', roundTripMs: 0.6 },
};
const members = ['Chrome on Linux 1a2', 'Firefox on Windows 3b4', 'Safari on iOS 5c6'].map((name) => ({ name }));

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(cleanUp.splice(0).map((clean) => clean()));
});

async function show(
  ...seen: readonly (readonly [number, IceSnapshot])[]
): Promise<{ element: ConnectionDoctor; text: () => string; details: () => HTMLDetailsElement }> {
  const element = new ConnectionDoctor();
  element.connections = viewConnections(new Map(seen.map(([rank, snapshot]) => [rank, diagnose(snapshot)])), members);
  document.body.append(element);
  cleanUp.push(() => element.remove());
  await element.updateComplete;
  const root = element.shadowRoot!;
  return {
    element,
    text: () => root.querySelector('section')?.innerText ?? '',
    details: () => root.querySelector('section > details')!,
  };
}

describe('the element', () => {
  test('draws nothing where there is nothing to tell', async () => {
    const { element, text } = await show();
    expect([text(), element.getBoundingClientRect().height]).toEqual(['', 0]);
  });
  test('is one line when all is well, which can be opened', async () => {
    const { text, details } = await show([2, well]);
    expect(details().open).toBe(false);
    expect(text()).toBe('connected to rank 2: direct (host), 0.6 ms');
    details().open = true;
    expect(text()).toContain('Safari on iOS 5c6');
    expect(text()).not.toContain('What to do');
  });
  test('opens by itself when something is wrong, with advice and what was tried', async () => {
    const { text, details, element } = await show([0, well], [1, lost]);
    expect(details().open).toBe(true);
    expect(text()).toMatch(/^Connection doctor: connected to 1 of 2 tabs/);
    expect(text()).toMatch(
      /no connection to rank 1: TURN server turn:t\.example:3478 answered 401: credentials wrong or expired\s+Firefox on Windows 3b4/,
    );
    expect(text()).toMatch(/What to do: correct turnuser and turnpass/);
    element.shadowRoot!.querySelectorAll<HTMLDetailsElement>('li details').forEach((tried) => {
      tried.open = true;
    });
    expect(text()).toContain('pairs: host to host failed (9 sent, 0 answered)');
    expect(element.shadowRoot!.querySelector('button')).toBeNull();
    element.checkable = true;
    await element.updateComplete;
    const asked = new Promise((resolve) => {
      element.addEventListener('check-connections', resolve, { once: true });
    });
    element.shadowRoot!.querySelector('button')!.click();
    await asked;
  });
  test('draws foreign text as text', async () => {
    const { element } = await show([
      1,
      { ...lost, errors: [{ url: 'turn:x', code: 699, text: '<img src=x onerror=alert(1)>' }] },
    ]);
    expect(element.shadowRoot!.querySelector('img')).toBeNull();
  });
});

describe('a session', () => {
  const key = newRoomKey(realWorld);
  let rooms = 0;
  async function pair(options: Partial<SessionOptions>): Promise<{ sessions: Session[]; events: SessionEvents[] }> {
    const room = `doctor-${rooms++}`;
    const events = [new SessionEvents(), new SessionEvents()];
    const sessions = await Promise.all(
      events.map((recorder, n) =>
        joinRoom({
          world: realWorld,
          carrier: broadcastChannelCarrier({ world: realWorld }),
          room,
          key,
          me: introduction(n),
          onEvent: recorder.push,
          settleMs: 100,
          wanted: { worldSize: 2, plan: null },
          ...options,
        }),
      ),
    );
    cleanUp.push(() => Promise.all(sessions.map((session) => session.close())));
    return { sessions, events };
  }
  const last = (events: SessionEvents) => {
    const found = events.all.findLast((event) => event.type === 'connections');
    return found?.type === 'connections' ? [...found.diagnoses] : [];
  };

  test('tells how its connections go, and again when asked', async () => {
    const { sessions, events } = await pair({});
    for (const [n, recorder] of events.entries()) {
      const { place } = await recorder.started();
      await recorder.find((event) => event.type === 'connections');
      const told = (): number => recorder.all.filter(({ type }) => type === 'connections').length;
      const before = told();
      await sessions[n]!.examine();
      expect(told()).toBeGreaterThan(before);
      expect(last(recorder)).toEqual([
        [
          1 - place.rank,
          expect.objectContaining({
            verdict: 'direct',
            advice: '',
            text: expect.stringMatching(/^direct \((host|prflx)\)/) as string,
          }),
        ],
      ]);
    }
  });
  test('says why there is no connection, and what to do, in its error and to the page', async () => {
    const { events } = await pair({ ice: () => readIce({ relay: 'only' }), deadlineMs: 1500, maxAttempts: 1 });
    for (const recorder of events) {
      const { error } = await recorder.failed();
      expect(error.message).toMatch(
        /relay=only is set, but there is no TURN server; give a TURN server: open the page from `tabmesh serve --turn/,
      );
      expect(last(recorder)[0]![1].verdict).toBe('relay-without-turn');
    }
  });
});
