// A member of the run that sends beside the lanes, in real tabs: on simple-peer's own channel, or on one that it opens.
// The other names it at once, and keeps nothing.

import { expect, test } from 'vitest';
import type { RankEvent } from '../../workers/protocol.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { PATIENCE_MS } from '../support/patience.ts';
import { RealTabs } from '../support/real-tabs.ts';
import { sample } from '../support/sample.ts';
import type { TabEvent } from '../support/real-tabs.ts';

const CONFIG = parseRunConfig([
  ['model', 'gpt2-nano'],
  ['data', 'copy'],
  ['layout', 'dp=2'],
  ['batch', '4'],
  ['steps', '100000'],
  ['evalEvery', '0'],
  ['sampleEvery', '0'],
  ['tune', 'none'],
]);

function rankEvents(events: readonly TabEvent[], tab: number): RankEvent[] {
  return events
    .filter((event) => event.tab === tab && event.report.type === 'rank')
    .map(({ report }) => report.event as unknown as RankEvent);
}

interface Caught {
  caught: { pc: RTCPeerConnection; own: RTCDataChannel | undefined }[];
}

/** Keeps the connections of a page, and the channel that simple-peer opens, which is no lane. */
function catchConnections(): void {
  const { caught } = Object.assign(globalThis, { caught: [] }) as unknown as Caught;
  const create = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (label, options) {
    const channel = create.call(this, label, options);
    const entry = caught.find(({ pc }) => pc === this) ?? { pc: this, own: undefined };
    if (!caught.includes(entry)) caught.push(entry);
    if (options?.negotiated !== true || options.id! < 10) entry.own ??= channel;
    return channel;
  };
}

/** In the page of the culprit: sends blocks for as long as the channel takes them, at most 10 s; the MiB that went. */
async function flood(opensOne: boolean): Promise<number> {
  const { pc, own } = (globalThis as unknown as Caught).caught.find(
    ({ pc: { connectionState } }) => connectionState === 'connected',
  )!;
  const channel = opensOne ? pc.createDataChannel('of my own') : own!;
  const block = new Uint8Array(65_536);
  let sent = 0;
  for (
    const end = performance.now() + 10_000;
    performance.now() < end && !['closing', 'closed'].includes(channel.readyState);
  ) {
    if (channel.readyState === 'open' && channel.bufferedAmount < 2 ** 20) {
      channel.send(block);
      sent += block.length;
    } else
      await new Promise((resolve) => {
        setTimeout(resolve, 2);
      });
  }
  return sent / 2 ** 20;
}

test.each(
  sample(
    [
      ['on the channel of simple-peer', false, 'it sent data on a channel that carries none'],
      ['on a channel that it opens', true, 'it opened a data channel of its own'],
    ] as const,
    1,
  ),
)('a member that sends %s is named, and its connection ends', async (_where, opensOne, words) => {
  const tabs = await RealTabs.open(
    CONFIG,
    {},
    'tabs',
    () => ({ lane: 'webrtc', backend: 'cpu' }),
    (browser) => browser.on('context', (context) => void context.addInitScript(catchConnections)),
  );
  try {
    await tabs.until(
      'two steps on both tabs',
      PATIENCE_MS,
      (events) =>
        [0, 1].every((tab) => rankEvents(events, tab).filter(({ kind }) => kind === 'step').length >= 2) || undefined,
    );
    const culprit = tabs.rankOf(1)!;
    const flooding = tabs.pages[1]!.evaluate(flood, opensOne);
    const { report } = await tabs.until('a failure of the other', PATIENCE_MS, (events) =>
      events.find((event) => event.tab === 0 && (event.report.event as RankEvent | undefined)?.kind === 'failed'),
    );
    const event = report.event as unknown as Extract<RankEvent, { kind: 'failed' }>;
    expect(event).toMatchObject({ culprit, evidence: 'corrupt', message: `rank ${culprit} corrupt: ${words}` });
    // A second of a fast link at most; unread, 10 s gave 65 MiB.
    expect(await flooding).toBeLessThan(32);
  } finally {
    await tabs.close();
  }
});
