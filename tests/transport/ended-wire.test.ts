// A wire that has ended listens to nothing any more: neither to its pipe, which a browser would keep for its listeners,
// nor to what outlives it.

import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { messagePortWire } from '../../src/transport/message-port.ts';
import { channelWire } from '../../src/transport/webrtc.ts';

const TYPES = ['message', 'bufferedamountlow', 'open', 'error', 'close'];

/** A channel that never tells of its close by itself. */
class SilentChannel extends EventTarget {
  binaryType = '';
  bufferedAmountLowThreshold = 0;
  bufferedAmount = 0;
  readyState = 'open';
  closed = 0;
  send(): void {
    /* goes nowhere */
  }
  close(): void {
    this.closed++;
  }
}

const listeners = (target: EventTarget): number =>
  TYPES.reduce((sum, type) => sum + getEventListeners(target, type).length, 0);

describe('a data channel', () => {
  it.each<
    [
      string,
      (channel: SilentChannel, wire: ReturnType<typeof channelWire>, gone: AbortController) => unknown,
      string | undefined,
    ]
  >([
    ['by its own close', (_channel, wire) => wire.close(), undefined],
    ['by the peer', (channel) => channel.dispatchEvent(new Event('close')), 'the data channel was closed'],
    [
      'by a text',
      (channel) => channel.dispatchEvent(new MessageEvent('message', { data: 'text' })),
      'it sent text on a binary channel',
    ],
    [
      'because the tab is gone',
      (_channel, _wire, gone) => gone.abort(),
      'the tab at the other end of the data channel is gone',
    ],
  ])('that ends %s', async (_how, end, reason) => {
    const [channel, gone] = [new SilentChannel(), new AbortController()];
    const wire = channelWire(channel, 'webrtc page', gone.signal);
    const told: string[] = [];
    wire.onClose = (text) => told.push(text);
    await Promise.resolve();
    expect([listeners(channel), getEventListeners(gone.signal, 'abort').length]).toEqual([5, 1]);
    end(channel, wire, gone);
    expect([listeners(channel), getEventListeners(gone.signal, 'abort').length]).toEqual([0, 0]);
    expect(channel.closed).toBeGreaterThan(0);
    expect(told).toEqual(reason === undefined ? [] : [reason]);
    // What the browser tells later changes nothing.
    channel.dispatchEvent(new Event('close'));
    expect(told).toHaveLength(reason === undefined ? 0 : 1);
  });
});

it('a port that ends leaves no listener with the tab that it came from', () => {
  const gone = new AbortController();
  const { port1, port2 } = new MessageChannel();
  const wire = messagePortWire(port1, 'same browser', gone.signal);
  expect(getEventListeners(gone.signal, 'abort')).toHaveLength(1);
  wire.close();
  expect(getEventListeners(gone.signal, 'abort')).toHaveLength(0);
  port2.close();
});
