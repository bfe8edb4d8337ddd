// Whose links act by themselves: those with a token that this browser keeps. What all others would do is said.

import { describe, expect, it } from 'vitest';
import { readFragment, roomLink } from '../../src/app/training/fragment.ts';
import type { PageSettings } from '../../src/app/training/fragment.ts';
import { wishesOfLink } from '../../src/app/training/link/consent.ts';
import { isVouched, vouch } from '../../src/app/training/link/own-tabs.ts';
import { realWorld } from '../../src/base/world.ts';

function browser(first?: string) {
  let kept = first ?? null;
  const storage = {
    getItem: () => kept,
    setItem: (_name: string, value: string) => {
      kept = value;
    },
  };
  return { kept: () => storage, text: () => kept };
}
const refused = (): never => {
  throw new DOMException('denied', 'SecurityError');
};
const DAY_MS = 24 * 3600_000;
const read = (hash: string): PageSettings => readFragment(hash, 'https://x.example/');
const home = read('#room=r1&key=k&broker=none&backend=cpu&ice=turn:t.example:3478&turnuser=bob&turnpass=sesame');
const newToken = (kept: Parameters<typeof vouch>[1], nowMs: number): string => {
  return vouch(realWorld, kept, nowMs, home.room!, home);
};
/** The settings of the tab that the link of `token` opens. */
const tabOf = (token: string | undefined): PageSettings => {
  return read(roomLink('https://x.example/', home.room!, home, 'own', token).split('#')[1]!);
};

describe('a token of this browser', () => {
  it('is 128 random bits, known here for a day, and unknown elsewhere', () => {
    const here = browser();
    const token = newToken(here.kept, 1000);
    expect(token).toMatch(/^[0-9a-f]{32}$/);
    expect(newToken(here.kept, 2000)).not.toBe(token);
    expect(isVouched(tabOf(token), here.kept, 3000)).toBe(true);
    expect(isVouched(tabOf(token), here.kept, 1000 + DAY_MS)).toBe(false);
    expect(isVouched(tabOf(token), browser().kept, 3000)).toBe(false);
    for (const guess of [undefined, '', '0'.repeat(32), token.toUpperCase(), '__proto__', 'constructor'])
      expect(isVouched(tabOf(guess), here.kept, 3000), String(guess)).toBe(false);
  });
  it('speaks for the one link that it was made for', () => {
    const here = browser();
    const tab = tabOf(newToken(here.kept, 0));
    expect(here.text()).not.toMatch(/"k"|sesame|r1/);
    const job = encodeURIComponent(JSON.stringify({ config: { model: 'gpt2-nano', data: 'copy' }, files: {} }));
    const others = [
      'room=r2&key=k&broker=none',
      'room=r1&key=other&broker=none',
      'room=r1&key=k&broker=ws://evil.example/',
      'room=r1&key=k',
      'devices=2',
      `plan=${job}`,
      `room=r1&key=k&broker=none&plan=${job}`,
      'upload=run/t/results',
      'room=r1&key=k&broker=none&upload=run/t/results',
    ];
    for (const other of others) {
      const settings = { ...read(`#${other}&auto=1&own=${tab.own}&backend=cpu`), ice: tab.ice };
      expect(isVouched(settings, here.kept, 1), other).toBe(false);
    }
    const same = { ...read(`#room=r1&key=k&broker=none&auto=1&own=${tab.own}&backend=cpu`), ice: tab.ice };
    expect(isVouched(same, here.kept, 1)).toBe(true);
    const ice = { ...tab.ice, iceServers: [{ urls: 'stun:evil.example' }] };
    expect(isVouched({ ...same, ice }, here.kept, 1)).toBe(false);
  });
  it('is one of a bounded number', () => {
    const here = browser();
    const tokens = Array.from({ length: 40 }, (_, i) => newToken(here.kept, i));
    expect(tokens.filter((token) => isVouched(tabOf(token), here.kept, 40))).toEqual(tokens.slice(8));
    expect(here.text()!.length).toBeLessThan(4096);
  });
  it('is believed by no browser that refuses storage or keeps nonsense', () => {
    const token = newToken(refused, 0);
    expect(isVouched(tabOf(token), refused, 0)).toBe(false);
    const values = ['"soon"', 'true', 'null', '9e9'].map((value) => `{"${token}":${value}}`);
    for (const nonsense of ['{', '[]', 'null', ...values])
      expect(isVouched(tabOf(token), browser(nonsense).kept, 0), nonsense).toBe(false);
  });
});

describe('what a link would have a tab do', () => {
  const job = encodeURIComponent(
    JSON.stringify({
      config: { model: 'gpt2-nano', data: 'copy', layout: 'dp=2', steps: 30 },
      files: { checkpoint: 'run/x/files/c' },
    }),
  );
  const wishes = (hash: string) => wishesOfLink(readFragment(hash, 'https://x.example/'));
  it('is said, each thing in a sentence', () => {
    expect(wishes(`#auto=1&room=r1&key=k&plan=${job}&upload=run/t/results`)).toEqual([
      `join the room "r1" over this page's server: its members see your network address`,
      "lend this device's GPU or processor to what the room trains",
      'propose to the room to train "gpt2-nano" on "copy" for 30 steps (dp=2, 2 ranks), ' +
        "loading checkpoint from this page's server",
      `send checkpoints, weights and gradients of what this tab trains to "run/t/results" on this page's server`,
    ]);
    expect(wishes('#auto=1&room=r1&key=k&broker=ws://b.example/mqtt&backend=cpu')[0]).toBe(
      'join the room "r1" over the broker "ws://b.example/mqtt": its members see your network address',
    );
    expect(wishes('#auto=1&devices=4&backend=cpu')).toEqual([
      "train the default model on 4 virtual devices, with this machine's processor",
    ]);
    expect(wishes(`#auto=1&plan=${job}`)[0]).toMatch(/^train "gpt2-nano" on "copy" for 30 steps/);
    expect(wishes('#upload=run/t/results')).toHaveLength(1);
  });
  it('keeps what the link says apart from what the page says, and shows where an address ends', () => {
    const said = 'nothing: this link is safe';
    const broker = `ws://${said}\u202e@${'x'.repeat(400)}.evil.example/mqtt`;
    const [join] = wishes(`#auto=1&room=r1&key=k&broker=${encodeURIComponent(broker)}`);
    expect(join).toContain(`over the broker "ws://${said}\\u202e@xxx`);
    expect(join).toMatch(/x\.\.\.x+\.evil\.example\/mqtt": its members/);
    const odd = encodeURIComponent(JSON.stringify({ config: { model: 'a" or b', data: said, steps: 2 }, files: {} }));
    expect(wishes(`#auto=1&plan=${odd}`)[0]).toMatch(/^train "a\\" or b" on "nothing: this link is safe" for 2 steps/);
    const upload = `run/t/results/${'x'.repeat(200)}/end`;
    expect(wishes(`#upload=${encodeURIComponent(upload)}`)[0]).toContain(`trains to "${upload}" on this page's server`);
  });
  it('names no room that cannot be joined', () => {
    for (const room of ['', 'a b', 'r1 over tabs of this browser', 'x'.repeat(65)]) {
      const hash = `#auto=1&room=${encodeURIComponent(room)}&key=k`;
      expect(() => wishes(hash), room).toThrow(/^link: room is ".*"; expected 1 to 64 letters, digits, - or _/);
    }
  });
  it('is nothing where it only fills in the page', () => {
    for (const hash of ['', '#room=r1&key=k', `#plan=${job}`, '#auto=0&devices=2'])
      expect(wishes(hash), hash).toEqual([]);
  });
});
