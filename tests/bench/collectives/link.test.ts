// The link of the collectives page: what it says, that it repeats itself, and what is refused.

import { expect, it } from 'vitest';
import { selectable } from '../../../src/bench/collectives/conductor.ts';
import { formatLink, readLink } from '../../../src/bench/collectives/link.ts';
import { DEFAULT_SIZES } from '../../../src/bench/collectives/sizes.ts';

it('says what is measured, and repeats it', () => {
  expect(readLink('')).toEqual({
    settings: {
      tabs: 2,
      sizes: DEFAULT_SIZES,
      only: selectable(undefined),
      peers: [],
      transport: 'webrtc',
      rounds: undefined,
      tuneMs: 0,
      frames: false,
      meet: 'browser',
    },
    room: undefined,
    join: undefined,
    key: undefined,
    start: false,
  });
  const link = readLink(
    '#tabs=3&sizes=4KiB,1MiB&only=all-reduce,send&peers=trystero,peerjs&transport=ports&rounds=7&tune=500&frames=1&room=x&run=1',
  );
  expect(link).toEqual({
    settings: {
      tabs: 3,
      sizes: [4096, 1048576],
      only: ['send', 'all-reduce'],
      peers: ['peerjs', 'trystero'],
      transport: 'ports',
      rounds: 7,
      tuneMs: 500,
      frames: true,
      meet: 'browser',
    },
    room: 'x',
    join: undefined,
    key: undefined,
    start: true,
  });
  expect(readLink(formatLink(link.settings, { start: true, room: 'x' }))).toEqual(link);
  expect(formatLink(readLink('').settings)).toBe('tabs=2');
  expect(readLink('#peers=1').settings.peers).toHaveLength(3);
  expect(readLink('#join=abc').join).toBe('abc');
  expect(readLink('#join=abc&key=k')).toMatchObject({ join: 'abc', key: 'k' });
  const apart = readLink('#tabs=3&meet=broker');
  expect(apart.settings.meet).toBe('broker');
  expect(readLink(`#${formatLink(apart.settings)}`)).toEqual(apart);
});

it.each([
  ['#meet=mail', 'link: meet is "mail"; expected browser or broker'],
  ['#key=k', 'link: there is a key, but no room to join'],
  ['#meet=broker&transport=ports', 'transport: expected webrtc where tabs meet by the broker, got ports'],
  ['#meet=broker&tabs=5', 'tabs: expected at most 4 where tabs meet by the broker, got 5'],
  ['#meet=broker&frames=1', 'frames: frames of this page are in one browser'],
  ['#tab=3', 'link: unknown part "tab"; the parts are tabs, sizes'],
  ['#tabs=1', 'link: tabs is "1"; expected a whole number from 2 to 8'],
  ['#sizes=big', 'link: sizes: expected sizes like'],
  ['#only=reduce', 'link: only: expected some of send, '],
  ['#peers=webtorrent', 'link: unknown library "webtorrent"; expected some of simple-peer, peerjs, trystero'],
  ['#transport=tcp', 'link: transport: expected webrtc, ports, broadcast, got "tcp"'],
  ['#rounds=0', 'link: rounds is "0"'],
  ['#run=yes', 'link: run is "yes"; expected 1 or 0'],
])('%s is refused', (hash, reason) => {
  expect(() => readLink(hash)).toThrow(reason);
});
