// simple-peer as a stream: write with its own backpressure, read what comes.

import { bytesOf } from './peer.ts';
import type { PeerEnd, PeerLibrary } from './peer.ts';

export const simplePeer: PeerLibrary = {
  library: 'simple-peer',
  async open(initiator, _, signalling) {
    const { default: SimplePeer } = await import('simple-peer/simplepeer.min.js');
    // The answering side must be there before the first offer.
    const early: unknown[] = [];
    let take = (message: unknown): void => {
      early.push(message);
    };
    let there: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => {
      there = resolve;
    });
    signalling.onMessage = (message) => {
      if (message === 'there') there();
      else take(message);
    };
    if (initiator) await answered;
    else signalling.say('there');
    const peer = new SimplePeer({ initiator, config: { iceServers: [] } });
    take = (message) => peer.signal(message as Parameters<typeof peer.signal>[0]);
    for (const message of early) take(message);
    peer.on('signal', (signal) => signalling.say(JSON.parse(JSON.stringify(signal))));
    await new Promise<void>((resolve, reject) => {
      peer.once('connect', () => resolve());
      peer.once('error', reject);
    });
    const end: PeerEnd = {
      async send(data) {
        // As a stream is written: in pieces that fit into a message, waiting where it says so.
        for (let at = 0; at < data.length; at += PIECE)
          if (!peer.write(data.subarray(at, at + PIECE)))
            await new Promise<void>((resolve) => {
              peer.once('drain', () => resolve());
            });
      },
      onData: undefined,
      close: () => peer.destroy(),
    };
    peer.on('data', (data: Uint8Array) => end.onData?.(bytesOf(data)));
    return end;
  },
};

/** Chromium closes a channel that is given more than 256 KiB at once; its own stream keeps 64 KiB under way. */
const PIECE = 65536;
