// What a register refuses, each by the one rule that is there for it: an attacker with the room's key may copy, move,
// delay and repeat whatever was said.

import { beforeAll, describe, expect, test } from 'vitest';
import { realWorld, VirtualWorld } from '../../../src/base/world.ts';
import { openEnvelope, Speaker } from '../../../src/cluster/identity/envelope.ts';
import type { Kind } from '../../../src/cluster/identity/envelope.ts';
import { identityOf, newKeyPair } from '../../../src/cluster/identity/keys.ts';
import type { Identity } from '../../../src/cluster/identity/keys.ts';
import { encodeTold, MAX_MEMBERS, Register } from '../../../src/cluster/identity/register.ts';
import type { Verdict } from '../../../src/cluster/identity/register.ts';
import { deriveSeal } from '../../../src/cluster/seal.ts';
import type { Bytes, Seal } from '../../../src/cluster/seal.ts';
import { OTHER_KEY, presence, ROOM_KEY } from '../support.ts';

const ROOM = 'room';
const ME = 'f'.repeat(16);
let seal: Seal;
let [ada, eve]: Identity[] = [];
beforeAll(async () => {
  seal = await deriveSeal(realWorld, ROOM, ROOM_KEY);
  [ada, eve] = [await identityOf(await newKeyPair()), await identityOf(await newKeyPair())];
});

const newSpeaker = (identity = ada!, world = new VirtualWorld(7), room = ROOM): Promise<Speaker> =>
  Speaker.join(world, room, seal, identity);
const newRegister = (world = new VirtualWorld(8)): Register => new Register({ world, seal, room: ROOM });
const told = (speaker: Speaker, answers: readonly Bytes[], fields = {}): Bytes =>
  encodeTold({
    challenge: new Uint8Array(8),
    answers,
    presence: presence(1, { id: speaker.identity.id, address: speaker.address, ...fields }),
  });
const text = (words: string): Bytes => new TextEncoder().encode(words);
const refusal = (verdict: Verdict): string | undefined => ('refused' in verdict ? verdict.refused : undefined);

async function announce(
  register: Register,
  speaker: Speaker,
  answers: readonly Bytes[],
  fields = {},
): Promise<string | undefined> {
  const verdict = await register.hear(
    'presence',
    speaker.address,
    '',
    await speaker.say('presence', '', told(speaker, answers, fields)),
  );
  if ('refused' in verdict) return verdict.refused;
  return register.announced(verdict.peer, verdict.body) ? undefined : 'unreadable';
}

/** What a holder of the room's key makes of a message: the same words from, to, as and in something else. */
async function moved(
  sealed: Bytes,
  was: string,
  will: string,
  change: (plain: Bytes) => Bytes = (plain) => plain,
): Promise<Bytes> {
  return seal.seal(change(await seal.unseal(sealed, was)), will);
}
const context = (kind: Kind, from: string, to: string, room = ROOM): string => `${room}/${kind}/${from}/${to}`;

describe('a presence counts', () => {
  test('when its sender has answered our challenge, in any of its answers, and not before', async () => {
    const [register, speaker] = [newRegister(), await newSpeaker()];
    expect(await announce(register, speaker, [])).toBeUndefined();
    expect(register.members()).toEqual([]);
    expect(register.unproven()).toHaveLength(1);
    expect(await announce(register, speaker, [new Uint8Array(8), register.challenge])).toBeUndefined();
    expect(register.members().map(({ presence: found }) => found!.id)).toEqual([ada!.id]);
    expect(register.unproven()).toEqual([]);
  });

  test('of its own identity and address only, and never takes back its place', async () => {
    const [register, speaker] = [newRegister(), await newSpeaker()];
    expect(await announce(register, speaker, [register.challenge], { id: eve!.id })).toBe('unreadable');
    expect(await announce(register, speaker, [register.challenge], { address: ME })).toBe('unreadable');
    expect(await announce(register, speaker, [register.challenge], { order: 5 })).toBeUndefined();
    expect(await announce(register, speaker, [register.challenge], { order: 4 })).toBe('unreadable');
  });

  test('no more when a new challenge is not answered, where it must be', async () => {
    const [register, speaker] = [newRegister(), await newSpeaker()];
    await announce(register, speaker, [register.challenge]);
    const before = register.challenge;
    register.renew();
    await announce(register, speaker, [before]);
    expect(register.unconfirmed()).toHaveLength(1);
    await announce(register, speaker, [register.challenge]);
    expect(register.unconfirmed()).toEqual([]);
  });
});

describe('refused is', () => {
  test('what was heard before, or is older', async () => {
    const [register, speaker] = [newRegister(), await newSpeaker()];
    const [first, second] = [
      await speaker.say('signal', ME, text('first')),
      await speaker.say('signal', ME, text('second')),
    ];
    expect(refusal(await register.hear('signal', speaker.address, ME, second))).toBeUndefined();
    expect(refusal(await register.hear('signal', speaker.address, ME, second))).toBe('repeated');
    expect(refusal(await register.hear('signal', speaker.address, ME, first))).toBe('repeated');
  });

  test('what was said to another, in another room, by another, or as something else', async () => {
    const [register, speaker, other] = [newRegister(), await newSpeaker(), await newSpeaker(eve)];
    const toOther = await speaker.say('signal', other.address, text('yours'));
    expect(
      refusal(
        await register.hear(
          'signal',
          speaker.address,
          ME,
          await moved(
            toOther,
            context('signal', speaker.address, other.address),
            context('signal', speaker.address, ME),
          ),
        ),
      ),
    ).toBe('forged');
    const mine = await speaker.say('signal', ME, text('mine'));
    expect(
      refusal(
        await register.hear(
          'signal',
          other.address,
          ME,
          await moved(mine, context('signal', speaker.address, ME), context('signal', other.address, ME)),
        ),
      ),
    ).toBe('forged');
    const elsewhere = await newSpeaker(ada, new VirtualWorld(7), 'other');
    const there = await elsewhere.say('signal', ME, text('there'));
    expect(
      refusal(
        await register.hear(
          'signal',
          elsewhere.address,
          ME,
          await moved(
            there,
            context('signal', elsewhere.address, ME, 'other'),
            context('signal', elsewhere.address, ME),
          ),
        ),
      ),
    ).toBe('forged');
    const hello = await speaker.say('hello', '', register.challenge);
    expect(
      refusal(
        await register.hear(
          'presence',
          speaker.address,
          '',
          await moved(hello, context('hello', speaker.address, ''), context('presence', speaker.address, '')),
        ),
      ),
    ).toBe('forged');
  });

  test('what carries another key than its address, before and after that is known', async () => {
    const [register, speaker] = [newRegister(), await newSpeaker()];
    const forge = async (): Promise<string | undefined> => {
      const liar = await newSpeaker(eve);
      for (let i = 0; i < 5; i++) await liar.say('hello', '', new Uint8Array(8));
      const said = await liar.say('signal', ME, text('I am Ada'));
      return refusal(
        await register.hear(
          'signal',
          speaker.address,
          ME,
          await moved(said, context('signal', liar.address, ME), context('signal', speaker.address, ME)),
        ),
      );
    };
    expect(await forge()).toBe('forged');
    await announce(register, speaker, [register.challenge]);
    expect(await forge()).toBe('forged');
    expect(register.members()).toHaveLength(1);
  });

  test('what is rightly signed by another key from an address that is not its own', async () => {
    const [register, speaker] = [newRegister(), await newSpeaker()];
    const liar = Object.assign(await newSpeaker(eve), { address: speaker.address });
    expect(
      refusal(await register.hear('signal', speaker.address, ME, await liar.say('signal', ME, text('I am Ada')))),
    ).toBe('forged');
    expect(await announce(register, liar, [register.challenge])).toBe('forged');
    expect(register.size).toBe(0);
  });

  test('every message with one bit changed, wherever it is', async () => {
    const [register, speaker] = [newRegister(), await newSpeaker()];
    const said = await speaker.say('signal', ME, text('words'));
    const where = context('signal', speaker.address, ME);
    const { byteLength } = await seal.unseal(said, where);
    for (let at = 0; at < byteLength; at += 3) {
      const changed = await moved(said, where, where, (plain) => {
        plain[at]! ^= 1 << (at % 8);
        return plain;
      });
      expect(refusal(await register.hear('signal', speaker.address, ME, changed)), `byte ${at}`).toBeDefined();
    }
    expect(refusal(await register.hear('signal', speaker.address, ME, said))).toBeUndefined();
  });

  test('whatever an address says after its bye; a bye of another key is none', async () => {
    const [register, speaker, liar] = [newRegister(), await newSpeaker(), await newSpeaker(eve)];
    await announce(register, speaker, [register.challenge]);
    const kept = await speaker.say('presence', '', told(speaker, [register.challenge]));
    const bye = await liar.say('bye', '', new Uint8Array(0));
    expect(
      refusal(
        await register.hear(
          'bye',
          speaker.address,
          '',
          await moved(bye, context('bye', liar.address, ''), context('bye', speaker.address, '')),
        ),
      ),
    ).toBe('forged');
    expect(
      refusal(await register.hear('bye', speaker.address, '', await speaker.say('bye', '', new Uint8Array(0)))),
    ).toBeUndefined();
    register.depart(speaker.address, true);
    expect(refusal(await register.hear('presence', speaker.address, '', kept))).toBe('left');
  });

  test('what was heard of an address before it was lost; what it says later counts', async () => {
    const [register, speaker] = [newRegister(), await newSpeaker()];
    const early = await speaker.say('presence', '', told(speaker, [register.challenge]));
    await announce(register, speaker, [register.challenge]);
    register.depart(speaker.address, false);
    expect(refusal(await register.hear('presence', speaker.address, '', early))).toBe('left');
    expect(await announce(register, speaker, [register.challenge])).toBeUndefined();
    expect(register.members()).toHaveLength(1);
  });

  test('what was held back for long; a clock that stood still is believed again with a new answer', async () => {
    const [mine, theirs] = [new VirtualWorld(1), new VirtualWorld(2)];
    const [register, speaker] = [newRegister(mine), await newSpeaker(ada, theirs)];
    await announce(register, speaker, [register.challenge]);
    const held = await speaker.say('signal', ME, text('stop'));
    await mine.advance(61_000);
    expect(refusal(await register.hear('signal', speaker.address, ME, held))).toBe('late');
    // Its machine slept: it is late from now on, until it answers anew.
    expect(
      refusal(await register.hear('signal', speaker.address, ME, await speaker.say('signal', ME, text('awake')))),
    ).toBe('late');
    expect(await announce(register, speaker, [register.challenge])).toBe('late');
    register.renew();
    expect(await announce(register, speaker, [register.challenge])).toBeUndefined();
    expect(
      refusal(await register.hear('signal', speaker.address, ME, await speaker.say('signal', ME, text('awake')))),
    ).toBeUndefined();
  });

  test('another version, by its number; plain words of before there were signatures too', async () => {
    const [register, speaker] = [newRegister(), await newSpeaker()];
    const where = context('presence', speaker.address, '');
    const said = await speaker.say('presence', '', told(speaker, []));
    expect(
      await register.hear(
        'presence',
        speaker.address,
        '',
        await moved(said, where, where, (plain) => {
          plain[0] = 99;
          return plain;
        }),
      ),
    ).toEqual({ refused: 'version', version: 99 });
    const old = await seal.seal(
      text(JSON.stringify({ id: 'zz', name: '\u001b]0;owned\u0007', protocolVersion: 2 })),
      where,
    );
    expect(await register.hear('presence', speaker.address, '', old)).toEqual({ refused: 'version', version: 2 });
  });
});

describe('memory', () => {
  test('stays bounded whoever speaks; those who are counted are kept', async () => {
    const [register, speaker] = [newRegister(), await newSpeaker()];
    await announce(register, speaker, [register.challenge]);
    const strangers = await deriveSeal(realWorld, ROOM, OTHER_KEY);
    for (let i = 0; i < 50; i++) {
      const from = i.toString(16).padStart(16, '0');
      expect(
        refusal(
          await register.hear(
            'presence',
            from,
            '',
            await strangers.seal(new Uint8Array(200), context('presence', from, '')),
          ),
        ),
      ).toBe('closed');
    }
    expect(register.size, 'who lacks the key costs nothing').toBe(1);
    for (let i = 0; i < 3 * MAX_MEMBERS; i++) {
      const other = await newSpeaker(eve, new VirtualWorld(100 + i));
      await register.hear('hello', other.address, '', await other.say('hello', '', new Uint8Array(8)));
    }
    expect(register.size).toBe(2 * MAX_MEMBERS);
    expect(register.members().map(({ address }) => address)).toEqual([speaker.address]);
    expect(register.answers().length).toBeLessThan(MAX_MEMBERS);
  });

  test('of those that left is bounded, and their recordings stay worthless', async () => {
    const [register, speaker] = [newRegister(), await newSpeaker()];
    const kept = await speaker.say('presence', '', told(speaker, [register.challenge]));
    await announce(register, speaker, [register.challenge]);
    register.depart(speaker.address, true);
    for (let i = 0; i < 1100; i++) register.depart(i.toString(16).padStart(16, '0'), true);
    expect(register.size).toBeLessThan(1100);
    const verdict = await register.hear('presence', speaker.address, '', kept);
    if ('peer' in verdict) register.announced(verdict.peer, verdict.body);
    expect(register.members()).toEqual([]);
  });
});

test('the bytes of an envelope are what the specification of this file says', async () => {
  const speaker = await newSpeaker();
  const opened = await openEnvelope(
    seal,
    'signal',
    ROOM,
    speaker.address,
    ME,
    await speaker.say('signal', ME, text('hi')),
  );
  expect(opened).toMatchObject({
    type: 'envelope',
    envelope: { seq: 1, timeMs: 0, publicKey: ada!.publicKey, body: text('hi') },
  });
  if (opened.type === 'envelope')
    expect(opened.envelope.signed.byteLength).toBe(
      `tabmesh envelope\nsignal\n${ROOM}\n${speaker.address}\n${ME}\n`.length + 1 + 8 + 8 + 8 + 65 + 2,
    );
});
