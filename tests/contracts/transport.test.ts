// The transport contract over the wires that Node has, and what needs a virtual clock: silence, freezes, deadlines,
// late hellos.

import { describe, expect, it } from 'vitest';
import { ConfigError, PeerError } from '../../src/base/errors.ts';
import { VirtualWorld, realWorld } from '../../src/base/world.ts';
import { LOW_WATER_BYTES } from '../../src/transport/base-wire.ts';
import { encodeHello } from '../../src/transport/control.ts';
import { encodeFrame, linkFrame } from '../../src/transport/frame.ts';
import { loopbackMesh, loopbackPair } from '../../src/transport/loopback.ts';
import { messagePortWire, relayWire } from '../../src/transport/message-port.ts';
import type { Wire } from '../../src/transport/transport.ts';
import {
  RUN,
  VIEW,
  WINDOW_BYTES,
  link,
  links,
  ramp,
  rejection,
  tag,
  tapped,
  transportContract,
} from './transport-contract.ts';
import type { LanesPair } from './transport-contract.ts';

function pairOf(make: () => readonly [Wire, Wire]): LanesPair {
  const [control, bulk] = [make(), make()];
  return { a: { control: control[0], bulk: bulk[0] }, b: { control: control[1], bulk: bulk[1] } };
}

function ports(): readonly [Wire, Wire] {
  const { port1, port2 } = new MessageChannel();
  return [messagePortWire(port1), messagePortWire(port2)];
}

/** A worker's port, a page's pump, and in place of the data channel a loopback wire to the other tab. */
function relayed(): readonly [Wire, Wire] {
  const { port1, port2 } = new MessageChannel();
  const { ends } = loopbackPair({ world: realWorld, delayMs: 1, bytesPerMs: 200_000 });
  relayWire(ends[0], port2);
  return [messagePortWire(port1, 'webrtc relay'), ends[1]];
}

transportContract('loopback', async () => pairOf(() => loopbackPair().ends));
transportContract(
  'loopback with delay and bandwidth',
  async () => pairOf(() => loopbackPair({ world: realWorld, delayMs: 1, bytesPerMs: 500_000 }).ends),
  { bigBytes: 8 << 20 },
);
transportContract('message-port', async () => pairOf(ports));
transportContract('webrtc relay through a port', async () => pairOf(relayed), { bigBytes: 8 << 20 });

it('a relay lets the worker feel the backpressure of the channel', async () => {
  const slow = loopbackPair({ world: realWorld, bytesPerMs: 50_000 });
  let most = 0;
  const channel = tapped(slow.ends[0], (message, pass) => {
    pass(message);
    most = Math.max(most, slow.ends[0].bufferedAmount);
  });
  const [control, { port1, port2 }] = [loopbackPair(), new MessageChannel()];
  relayWire(channel, port2);
  const { a, b } = links({
    a: { control: control.ends[0], bulk: messagePortWire(port1, 'webrtc relay') },
    b: { control: control.ends[1], bulk: slow.ends[1] },
  });
  const out = new Float32Array(1_000_000);
  await Promise.all([a.send(tag(0), ramp(1_000_000)), b.recv(tag(0), out)]);
  expect(most).toBeLessThanOrEqual(WINDOW_BYTES + LOW_WATER_BYTES);
  a.leave();
});

describe('link under a virtual clock', () => {
  /** `quiet.now` cuts everything that rank a sends. */
  function quietPair(): { pair: LanesPair; quiet: { now: boolean } } {
    const quiet = { now: false };
    const pair = pairOf(() => loopbackPair().ends);
    const mute = (wire: Wire): Wire =>
      tapped(wire, (message, pass) => {
        if (!quiet.now) pass(message);
      });
    return { pair: { a: { control: mute(pair.a.control), bulk: mute(pair.a.bulk) }, b: pair.b }, quiet };
  }

  it('stays alive on heartbeats alone and measures the round trip', async () => {
    const world = new VirtualWorld();
    const pair = pairOf(() => loopbackPair({ world, delayMs: 40 }).ends);
    const [a, b] = [link(pair.a, 'a', {}, world), link(pair.b, 'b', {}, world)];
    let failed = false;
    void b.failed.then(() => {
      failed = true;
    });
    await world.advance(120_000);
    expect(failed).toBe(false);
    expect(a.stats.roundTripMs).toBe(80);
    expect(world.pending).toBeGreaterThan(0);
    a.leave();
    await world.advance(1000);
    expect(world.pending).toBe(0); // no timer outlives its link
    expect((await b.failed).evidence).toBe('left');
  });

  it('names a silent peer after 6 s, not before', async () => {
    const world = new VirtualWorld();
    const { pair, quiet } = quietPair();
    const [, b] = [link(pair.a, 'a', {}, world), link(pair.b, 'b', {}, world)];
    const received = rejection(b.recv(tag(1), ramp(1)));
    let failed = false;
    void b.failed.then(() => {
      failed = true;
    });
    await world.advance(3000);
    quiet.now = true;
    await world.advance(5900);
    expect(failed).toBe(false);
    await world.advance(1200);
    const error = await received;
    expect([error.evidence, error.culprit]).toEqual(['silent', 4]);
    expect(world.now()).toBeLessThan(3000 + 8000);
  });

  it('does not blame the peer after its own freeze, and still finds a peer that is gone', async () => {
    for (const peerLives of [true, false]) {
      let skewMs = 0;
      const virtual = new VirtualWorld();
      const own = {
        now: () => virtual.now() + skewMs,
        timer: virtual.timer.bind(virtual),
        randomBytes: virtual.randomBytes.bind(virtual),
      };
      const { pair, quiet } = quietPair();
      const [, b] = [link(pair.a, 'a', {}, virtual), link(pair.b, 'b', {}, own)];
      let evidence = 'none';
      void b.failed.then((error) => {
        evidence = error.evidence;
      });
      await virtual.advance(2500);
      skewMs = 60_000; // the clock of b jumps: its tab slept for a minute
      quiet.now = !peerLives;
      await virtual.advance(1000);
      expect(evidence).toBe('none');
      await virtual.advance(9000);
      expect(evidence).toBe(peerLives ? 'none' : 'silent');
    }
  });

  it('does not count its own freeze towards the deadline of a receive', async () => {
    let skewMs = 0;
    const virtual = new VirtualWorld();
    const own = {
      now: () => virtual.now() + skewMs,
      timer: virtual.timer.bind(virtual),
      randomBytes: virtual.randomBytes.bind(virtual),
    };
    const pair = pairOf(() => loopbackPair().ends);
    const [a, b] = [link(pair.a, 'a', {}, virtual), link(pair.b, 'b', { deadlineMs: 15_000 }, own)];
    const [first, second] = [new Float32Array(2), new Float32Array(2)];
    const [received, never] = [b.recv(tag(1), first), rejection(b.recv(tag(2), second))];
    await virtual.advance(5000);
    skewMs = 60_000;
    await virtual.advance(9000);
    await Promise.all([a.send(tag(1), ramp(2)), received]);
    expect([...first]).toEqual([0, 1]);
    await virtual.advance(10_000);
    expect((await never).evidence).toBe('slow');
  });

  it('names a slow peer when a deadline is set, though it gives signs of life', async () => {
    const world = new VirtualWorld();
    const pair = pairOf(() => loopbackPair().ends);
    const [, b] = [link(pair.a, 'a', {}, world), link(pair.b, 'b', { deadlineMs: 15_000 }, world)];
    const received = rejection(b.recv(tag(12, 2, 'all-gather'), ramp(8)));
    await world.advance(14_000);
    expect(world.pending).toBe(2);
    await world.advance(3000);
    const error = await received;
    expect(error.evidence).toBe('slow');
    expect(error.message).toMatch(
      /group 1, operation 12, message 2: it did not send all-gather f32\[8\] within 15000 ms \(last heard \d+ ms ago\)/,
    );
  });

  it('joins with a peer whose link starts late, after our hello was lost in its older view', async () => {
    const world = new VirtualWorld();
    const pair = pairOf(() => loopbackPair().ends);
    const old = link(pair.b, 'b', { view: VIEW - 1 }, world);
    const a = link(pair.a, 'a', {}, world);
    const sent = a.send(tag(1), ramp(3));
    await world.advance(2000);
    expect(old.stats.dropped).toBeGreaterThan(0);
    expect(old.stats.payloadReceived).toBe(0);
    const b = link(pair.b, 'b', {}, world);
    const [out, back] = [new Float32Array(3), new Float32Array(3)];
    await Promise.all([b.recv(tag(1), out), sent, b.send(tag(2), ramp(3)), a.recv(tag(2), back)]);
    expect([...out, ...back]).toEqual([0, 1, 2, 0, 1, 2]);
  });

  it('refuses a peer that says it is another rank, two receives of one tag, and a window that never drains', async () => {
    const pair = pairOf(() => loopbackPair().ends);
    const b = link(pair.b, 'b');
    void b.recv(tag(1), ramp(1));
    await expect(b.recv(tag(1), ramp(1))).rejects.toThrow(
      'internal: two receives of group 1, operation 1, message 0 from rank 4',
    );
    pair.a.control.send(
      encodeFrame(
        linkFrame('hello', RUN, VIEW, encodeHello({ sender: 5, receiver: 9, heard: false, lanes: 1, tuneMs: 0 })),
      ),
    );
    expect((await b.failed).message).toContain('it says that it is rank 5');
    expect(() => link(pair.a, 'a', { windowBytes: 65536 })).toThrow(ConfigError);
  });

  it('answers a peer that says hello without end only so often', async () => {
    const pair = pairOf(() => loopbackPair().ends);
    let answers = 0;
    const b = link(
      {
        control: tapped(pair.b.control, (message, pass) => {
          answers++;
          pass(message);
        }),
        bulk: pair.b.bulk,
      },
      'b',
    );
    for (let i = 0; i < 200; i++)
      pair.a.control.send(
        encodeFrame(
          linkFrame('hello', RUN, VIEW, encodeHello({ sender: 4, receiver: 9, heard: false, lanes: 1, tuneMs: 0 })),
        ),
      );
    expect((await b.failed).message).toContain('it said hello more than 64 times');
    expect(answers).toBeLessThan(70);
  });

  it('keeps the text of an abort within its bound and names only the first teller', async () => {
    const [x, y] = [links(pairOf(() => loopbackPair().ends)), links(pairOf(() => loopbackPair().ends))];
    void x.b.failed.then((error) => y.a.abort(error));
    x.a.abort(new PeerError(2, 'crashed', 'ß'.repeat(5000)));
    const error = await y.b.failed;
    expect(error.message.length).toBeLessThan(1100);
    const [p, q] = [links(pairOf(() => loopbackPair().ends)), links(pairOf(() => loopbackPair().ends))];
    void p.b.failed.then((told) => q.a.abort(told));
    p.a.abort(new PeerError(2, 'crashed', 'TypeError'));
    expect((await q.b.failed).message).toBe('rank 2 crashed: TypeError (told by rank 4)');
  });
});

describe('loopbackMesh', () => {
  it('links every rank to every other and lets a rank be killed', async () => {
    const nodes = loopbackMesh(4, realWorld);
    for (const { rank, links: own } of nodes)
      expect([...own.keys()].sort()).toEqual([0, 1, 2, 3].filter((peer) => peer !== rank));
    nodes[2]!.kill();
    for (const rank of [0, 1, 3]) {
      const error = await nodes[rank]!.links.get(2)!.failed;
      expect([error.culprit, error.evidence]).toEqual([2, 'closed']);
    }
    for (const node of nodes) node.leave();
  });

  it('simulates delay and bandwidth', async () => {
    const world = new VirtualWorld();
    const nodes = loopbackMesh(2, world, { delayMs: 10, bytesPerMs: 1000 });
    const out = new Float32Array(250_000);
    let doneAt = 0;
    void nodes[0]!.links.get(1)!.send(tag(0), ramp(250_000));
    void nodes[1]!.links
      .get(0)!
      .recv(tag(0), out)
      .then(() => {
        doneAt = world.now();
      });
    await world.advance(3000);
    expect(out.at(-1)).toBe(249_999 % 65521);
    expect(doneAt).toBeGreaterThan(1000 + 10); // 1 MB at 1000 bytes per ms, and the way
    expect(doneAt).toBeLessThan(1100);
    for (const node of nodes) node.leave();
  });
});
