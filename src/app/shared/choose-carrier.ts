// Over what the tabs of a room meet: the broker of the link or of the page's server, and the tabs of this browser.

import { RoomError } from '../../base/errors.ts';
import { realWorld } from '../../base/world.ts';
import { broadcastChannelCarrier } from '../../cluster/broadcast-channel.ts';
import { mqttCarrier } from '../../cluster/mqtt.ts';
import { twoCarriers } from '../../cluster/room/two-carriers.ts';
import type { Carrier } from '../../cluster/rendezvous.ts';

const PROBE_MS = 3000;
const ASK_AGAIN_MS = 2000;
const MAX_ASK_AGAIN_MS = 60_000;
const ALONE =
  'the server of this page has no broker that answers: only tabs of this browser meet here until it does; give others a link with broker=ws://... of a broker that runs';

export interface CarrierWatch {
  /** One sentence for people, for now. */
  readonly onStatus: (text: string) => void;
  /** A sentence that stays true until it is called again; undefined: it is true no more. */
  readonly onNotice: (text: string | undefined) => void;
  /** The room now meets over what the carrier is called. */
  readonly onName: (name: string) => void;
  /** Ends the search for a broker. */
  readonly signal: AbortSignal;
}

/**
 * The broker that the link names; else the tabs of this browser, and the broker of the page's own server: now, if it
 * answers, or when it answers later. Rejects with RoomError when that server refuses.
 */
export async function chooseCarrier(
  broker: string | undefined,
  { onStatus, onNotice, onName, signal }: CarrierWatch,
): Promise<Carrier> {
  const world = realWorld;
  if (broker !== undefined && broker !== 'none') {
    onStatus('connecting to the broker of this link');
    return mqttCarrier({ world, url: broker });
  }
  const near = broadcastChannelCarrier({ world });
  if (broker === 'none' || !location.host) return near;
  // Beside the page, which may lie below a path of a proxy.
  const url = new URL('mqtt', document.baseURI).href.replace(/^http/, 'ws').replace(/#.*$/, '');
  let there = await answers(url);
  if (!there) {
    onStatus('the broker of this page does not answer; asking once more');
    there = await answers(url);
  }
  if (there) return twoCarriers({ near, far: Promise.resolve(mqttCarrier({ world, url })), waits: true });
  const refusal = await whyRefused();
  if (refusal !== undefined) throw new RoomError('broker', refusal);
  onNotice(ALONE);
  const carrier: Carrier = twoCarriers({
    near,
    waits: false,
    far: answersLater(url, signal).then((answered) => (answered ? mqttCarrier({ world, url }) : undefined)),
    onFar: (_, failure) => {
      onNotice(
        failure === undefined
          ? undefined
          : `${ALONE} (${failure instanceof Error ? failure.message : String(failure)})`,
      );
      onName(carrier.name);
    },
  });
  return carrier;
}

/** True once a broker answers, asked again and again, less and less often; false when `signal` ends it. */
async function answersLater(url: string, signal: AbortSignal): Promise<boolean> {
  for (let pauseMs = ASK_AGAIN_MS; !signal.aborted; pauseMs = Math.min(2 * pauseMs, MAX_ASK_AGAIN_MS)) {
    await new Promise<void>((resolve) => {
      const cancel = realWorld.timer(pauseMs, resolve);
      signal.addEventListener(
        'abort',
        () => {
          cancel();
          resolve();
        },
        { once: true },
      );
    });
    if (!signal.aborted && (await answers(url))) return !signal.aborted;
  }
  return false;
}

/** Whether a broker takes WebSockets there: a page from a folder of static files has none. */
function answers(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, 'mqtt');
    const end = (answer: boolean): void => {
      clearTimeout(timer);
      resolve(answer);
      socket.close();
    };
    const timer = setTimeout(() => end(false), PROBE_MS);
    socket.onopen = () => end(true);
    socket.onerror = () => end(false);
  });
}

/**
 * A browser does not tell why a web socket was refused; a server of ours that does not know the name of its proxy says
 * so to a post, too. undefined: it has no broker.
 */
async function whyRefused(): Promise<string | undefined> {
  try {
    const response = await fetch(new URL('mqtt', document.baseURI), {
      method: 'POST',
      signal: AbortSignal.timeout(PROBE_MS),
      cache: 'no-store',
      credentials: 'omit',
    });
    const text = response.status === 403 ? (await response.text()).trim() : '';
    return text.includes('--allow-host') ? text : undefined;
  } catch {
    // Nobody answers: a page from a folder, or a server that is away.
    return undefined;
  }
}
