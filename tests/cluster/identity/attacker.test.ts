// Somebody with the room's key, who hears all that is said and says it again, in any order, from any address, to
// anybody, changed or not, in a room whose members come, talk and leave: nobody is evicted, nobody comes back, and
// every signal arrives once, in order, from whom it came. Somebody without the key: the same.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { realWorld } from '../../../src/base/world.ts';
import { Speaker } from '../../../src/cluster/identity/envelope.ts';
import type { Kind } from '../../../src/cluster/identity/envelope.ts';
import { identityOf, newKeyPair } from '../../../src/cluster/identity/keys.ts';
import type { Presence } from '../../../src/cluster/presence.ts';
import { joinRendezvous } from '../../../src/cluster/rendezvous.ts';
import type { Rendezvous } from '../../../src/cluster/rendezvous.ts';
import { deriveSeal } from '../../../src/cluster/seal.ts';
import type { Bytes } from '../../../src/cluster/seal.ts';
import { introduction, MemoryHub, OTHER_KEY, ROOM_KEY } from '../support.ts';

interface Member {
  readonly rendezvous: Rendezvous;
  readonly rosters: (readonly Presence[])[];
  readonly signals: string[];
  readonly fatal: Error[];
}
interface Said {
  readonly kind: Kind;
  readonly bytes: Bytes;
  readonly from: string;
}
interface Attack {
  readonly what: 'repeat' | 'as another' | 'moved' | 'changed' | 'forged' | 'gone' | 'junk';
  readonly at: number;
  readonly kind: Kind;
}

/**
 * Longer than a member may take to answer: it answers a burst of hellos at its start and 200 ms later, and is asked
 * every 500 ms.
 */
const GRACE_MS = 1500;
const KINDS: readonly Kind[] = ['hello', 'presence', 'signal', 'bye'];
const WHAT: readonly Attack['what'][] = ['repeat', 'as another', 'moved', 'changed', 'forged', 'gone', 'junk'];
const attacks = fc.array(
  fc.record({ what: fc.constantFrom(...WHAT), at: fc.nat(1000), kind: fc.constantFrom(...KINDS) }),
  { minLength: 5, maxLength: 40, size: 'max' },
);

async function join(hub: MemoryHub, n: number): Promise<Member> {
  const member: Omit<Member, 'rendezvous'> = { rosters: [], signals: [], fatal: [] };
  const rendezvous = await joinRendezvous(
    {
      world: realWorld,
      carrier: { ...hub.carrier(), graceMs: GRACE_MS },
      room: 'test',
      key: ROOM_KEY,
      me: introduction(n),
      settleMs: 20,
    },
    {
      onPeers: (roster) => {
        member.rosters.push(roster);
      },
      onSignal: (from, payload) => member.signals.push(`${from} ${new TextDecoder().decode(payload)}`),
      onStatus: () => {},
      onNotice: () => {},
      onFatal: (error) => member.fatal.push(error),
    },
  );
  return { rendezvous, ...member };
}

/** Sorted: those that join at once have the same age. */
const namesIn = (roster: readonly Presence[] | undefined): string =>
  roster
    ?.map(({ name }) => name)
    .sort()
    .join() ?? '';

class Attacker {
  readonly heard: Said[] = [];
  readonly #hub: MemoryHub;
  readonly #key: string;

  constructor(hub: MemoryHub, key: string) {
    this.#hub = hub;
    this.#key = key;
    hub.tamper = (kind, bytes, from) => {
      this.heard.push({ kind, bytes, from });
      return bytes;
    };
  }

  async strike({ what, at, kind }: Attack, members: readonly Member[]): Promise<void> {
    const seal = await deriveSeal(realWorld, 'test', this.#key);
    const addresses = members.map(({ rendezvous }) => rendezvous.me.address);
    const victim = addresses[at % addresses.length]!;
    const said = this.heard[at % this.heard.length]!;
    // Who said it to whom is only known to the seal: a guess is as good as a wrong one.
    const context = (from: string, to: string, as = kind): string => `test/${as}/${from}/${as === 'signal' ? to : ''}`;
    for (const to of addresses) {
      switch (what) {
        case 'repeat':
          this.#say(said.kind, said.from, to, said.bytes);
          break;
        case 'as another':
          this.#say(kind, victim, to, said.bytes);
          break;
        case 'moved':
        case 'changed': {
          const plain = await seal.unseal(said.bytes, context(said.from, to, said.kind)).catch(() => undefined);
          if (!plain) break;
          if (what === 'changed') plain[at % plain.length]! ^= 1;
          const [from, as] = what === 'moved' ? [victim, kind] : [said.from, said.kind];
          this.#say(as, from, to, await seal.seal(plain, context(from, to, as)));
          break;
        }
        case 'forged': {
          const liar = await Speaker.join(realWorld, 'test', seal, await identityOf(await newKeyPair()));
          const plain = await seal.unseal(
            await liar.say(kind, kind === 'signal' ? to : '', new Uint8Array(8)),
            context(liar.address, to),
          );
          this.#say(kind, victim, to, await seal.seal(plain, context(victim, to)));
          break;
        }
        case 'gone':
          this.#hub.handlersOf(to).onGone(victim, 'said');
          break;
        case 'junk':
          this.#say(kind, victim, to, realWorld.randomBytes(1 + at));
          break;
      }
    }
  }

  #say(kind: Kind, from: string, to: string, bytes: Bytes): void {
    const handlers = this.#hub.handlersOf(to);
    if (kind === 'hello') handlers.onHello(from, bytes);
    else if (kind === 'presence') handlers.onPresence(from, bytes, true);
    else if (kind === 'signal') handlers.onSignal(from, bytes);
    else handlers.onBye(from, bytes);
  }
}

async function play(script: readonly Attack[], key: string): Promise<void> {
  const hub = new MemoryHub();
  const attacker = new Attacker(hub, key);
  const [a, b] = [await join(hub, 0), await join(hub, 1)];
  const gone = await join(hub, 7);
  await expect.poll(() => namesIn(b.rosters.at(-1))).toBe('Tab 0,Tab 1,Tab 7');
  await gone.rendezvous.close();
  await expect.poll(() => namesIn(a.rosters.at(-1))).toBe('Tab 0,Tab 1');
  await expect.poll(() => namesIn(b.rosters.at(-1))).toBe('Tab 0,Tab 1');
  for (const { rosters } of [a, b]) rosters.length = 0;
  const members = [a, b];
  const texts = script.map((_, i) => `word ${i}`);
  let newcomer: Member | undefined;
  for (const [i, attack] of script.entries()) {
    b.rendezvous.signal(a.rendezvous.me.address, new TextEncoder().encode(texts[i]));
    await attacker.strike(attack, members);
    if (i === script.length >> 1) members.push((newcomer = await join(hub, 2)));
  }
  await expect.poll(() => a.signals.length).toBeGreaterThanOrEqual(texts.length);
  // Time for whoever was called gone to be dropped, were it to be.
  await new Promise<void>((resolve) => {
    realWorld.timer(GRACE_MS + 100, resolve);
  });
  await expect.poll(() => namesIn(newcomer!.rosters.at(-1))).toBe('Tab 0,Tab 1,Tab 2');
  expect(a.signals).toEqual(texts.map((text) => `${b.rendezvous.me.address} ${text}`));
  for (const { rosters, fatal, rendezvous } of members) {
    expect(fatal).toEqual([]);
    // Each roster that was ever seen has both old members, except a newcomer's before it has met them, and nobody who
    // is not there.
    for (const roster of rosters)
      expect(namesIn(roster), `${rendezvous.me.name} saw ${namesIn(roster)}`).toMatch(
        rendezvous === newcomer!.rendezvous ? /^(Tab 0,)?(Tab 1,)?Tab 2$/ : /^Tab 0,Tab 1(,Tab 2)?$/,
      );
  }
  await Promise.all(members.map(({ rendezvous }) => rendezvous.close()));
}

describe('nothing that is copied, moved, changed or made up changes anything', () => {
  test.each([
    ['with the key', ROOM_KEY],
    ['without the key', OTHER_KEY],
  ])('%s', async (_, key) => {
    await fc.assert(
      fc.asyncProperty(attacks, (script) => play(script, key)),
      { numRuns: 5, seed: 11 },
    );
  });
});
