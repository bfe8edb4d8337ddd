import { expect, test } from 'vitest';
import fc from 'fast-check';
import { ConfigError, FormatError, LimitError } from '../../src/base/errors.ts';
import { realWorld, VirtualWorld } from '../../src/base/world.ts';
import { deriveSeal, MAX_SEALED_BYTES, newRoomKey } from '../../src/cluster/seal.ts';
import { OTHER_KEY, ROOM_KEY } from './support.ts';

const world = realWorld;

test('what one member seals another opens, and the bytes on the way say nothing', async () => {
  const [a, b] = await Promise.all([deriveSeal(world, 'room', ROOM_KEY), deriveSeal(world, 'room', ROOM_KEY)]);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (bytes) => {
      const plain = new Uint8Array(bytes);
      const sealed = await a.seal(plain, 'context');
      expect(sealed.byteLength).toBe(plain.byteLength + 29);
      expect(await b.unseal(sealed, 'context')).toEqual(plain);
    }),
    { numRuns: 50 },
  );
  const secret = new TextEncoder().encode('candidate:192.168.1.7');
  const sealed = await a.seal(secret, 'context');
  expect(new TextDecoder('latin1').decode(sealed)).not.toContain('192.168');
});

test('another key, another room and another context do not open it', async () => {
  const seal = await deriveSeal(world, 'room', ROOM_KEY);
  const sealed = await seal.seal(new Uint8Array([1, 2, 3]), 'room/signal/a/b');
  const strangers = [await deriveSeal(world, 'room', OTHER_KEY), await deriveSeal(world, 'other', ROOM_KEY)];
  for (const stranger of strangers)
    await expect(stranger.unseal(sealed, 'room/signal/a/b')).rejects.toThrow(FormatError);
  await expect(seal.unseal(sealed, 'room/signal/a/c')).rejects.toThrow(/does not open/);
  // The check can fail: the same key and context open it.
  expect(await seal.unseal(sealed, 'room/signal/a/b')).toEqual(new Uint8Array([1, 2, 3]));
});

test('every single changed bit is noticed', async () => {
  const seal = await deriveSeal(world, 'room', ROOM_KEY);
  const sealed = await seal.seal(new Uint8Array([7, 7, 7, 7]), 'c');
  for (let bit = 0; bit < sealed.byteLength * 8; bit++) {
    const changed = sealed.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    await expect(seal.unseal(changed, 'c'), `bit ${bit}`).rejects.toThrow(FormatError);
  }
});

test('arbitrary bytes give a FormatError and nothing else', async () => {
  const seal = await deriveSeal(world, 'room', ROOM_KEY);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (bytes) => {
      await expect(seal.unseal(new Uint8Array(bytes), 'c')).rejects.toThrow(FormatError);
    }),
  );
});

test('a nonce is never used twice', async () => {
  const seal = await deriveSeal(world, 'room', ROOM_KEY);
  const nonces = new Set<string>();
  for (let i = 0; i < 200; i++) nonces.add(String((await seal.seal(new Uint8Array(1), 'c')).subarray(1, 13)));
  expect(nonces.size).toBe(200);
});

test('a payload over the cap is refused before it is sent', async () => {
  const seal = await deriveSeal(world, 'room', ROOM_KEY);
  expect((await seal.seal(new Uint8Array(MAX_SEALED_BYTES - 29), 'c')).byteLength).toBe(MAX_SEALED_BYTES);
  await expect(seal.seal(new Uint8Array(MAX_SEALED_BYTES - 28), 'c')).rejects.toThrow(LimitError);
});

test('a new key is 128 bits in 22 characters; a cut one is refused with what to do', async () => {
  const key = newRoomKey(new VirtualWorld(5));
  expect(key).toMatch(/^[A-Za-z0-9_-]{22}$/);
  await expect(deriveSeal(world, 'room', key)).resolves.toBeDefined();
  await expect(deriveSeal(world, 'room', key.slice(0, 20))).rejects.toThrow(ConfigError);
  await expect(deriveSeal(world, 'room', key.slice(0, 20))).rejects.toThrow(
    'room key: expected 22 letters, digits, - or _, got 20 characters; copy the whole link of the room',
  );
});
