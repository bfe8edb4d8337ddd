// Another library that sends arrays between two tabs, in its natural way. The pair runs on pages, because peer
// connections do.

import { TabmeshError } from '../../../base/errors.ts';
import type { Handlers, PeerRequest } from '../requests.ts';
import { reasonOf, within } from '../../failures.ts';
import { countWrong, valueAt, valuesOf } from '../numbers.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** A way to the other tab before there is a connection: any plain message, in order. */
export interface Signalling {
  say(message: unknown): void;
  onMessage: ((message: unknown) => void) | undefined;
}

export interface PeerEnd {
  /** Sends one array; resolves when the library takes more. */
  send(data: Bytes): Promise<void>;
  /** Whole messages or pieces of a stream, in order. */
  onData: ((bytes: Bytes) => void) | undefined;
  close(): void;
}

export interface PeerLibrary {
  readonly library: string;
  /** Loads the library and resolves when the two are connected. `name` is of this pair alone. */
  open(initiator: boolean, name: string, signalling: Signalling): Promise<PeerEnd>;
}

const OPEN_MS = 60_000;

/** What came, in pieces, until as much has come as is expected. */
class Arrivals {
  pieces: Bytes[] = [];
  #bytes = 0;
  #wanted: { readonly bytes: number; readonly resolve: () => void } | undefined;

  add(piece: Bytes): void {
    this.pieces.push(piece);
    this.#bytes += piece.byteLength;
    this.#settle();
  }

  expect(bytes: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = { bytes, resolve };
      this.#settle();
    });
  }

  take(): readonly Bytes[] {
    const { pieces } = this;
    this.pieces = [];
    this.#bytes = 0;
    return pieces;
  }

  #settle(): void {
    if (!this.#wanted || this.#bytes < this.#wanted.bytes) return;
    const { resolve } = this.#wanted;
    this.#wanted = undefined;
    resolve();
  }
}

/** The page's requests of ranks 0 and 1; other ranks answer that all is well. */
export function createPeerRequests(
  rank: number,
  libraries: readonly PeerLibrary[],
  signallingOf: (library: string) => Signalling,
  name: string,
  now: () => number,
): Handlers<PeerRequest> & { close(): void } {
  const ends = new Map<string, { readonly end: PeerEnd; readonly arrivals: Arrivals; came?: Promise<void> }>();
  const endOf = (library: string) => {
    const found = ends.get(library);
    if (!found) throw new TabmeshError(`${library} is not connected`);
    return found;
  };
  return {
    async peerOpen({ library: wanted }) {
      const library = libraries.find((one) => one.library === wanted);
      if (!library) return { reason: `unknown library; known are ${libraries.map((one) => one.library).join(', ')}` };
      if (rank > 1) return {};
      try {
        const end = await within(
          OPEN_MS,
          `${wanted} did not connect`,
          library.open(rank === 0, `${name}-${wanted}`, signallingOf(wanted)),
        );
        const arrivals = new Arrivals();
        end.onData = (bytes) => arrivals.add(bytes);
        ends.set(wanted, { end, arrivals });
        return {};
      } catch (error) {
        return { reason: reasonOf(error) };
      }
    },
    async peerExpect({ library, bytes }) {
      const there = endOf(library);
      there.came = there.arrivals.expect(bytes).then(() => there.end.send(new Uint8Array(4)));
      return null;
    },
    async peerSend({ library, bytes, salt }) {
      const { end, arrivals } = endOf(library);
      const data = new Uint8Array(valuesOf(0, bytes / 4, salt).buffer);
      const start = now();
      const told = arrivals.expect(4);
      await end.send(data);
      await told;
      const ms = now() - start;
      arrivals.take();
      return ms;
    },
    async peerVerdict({ library, bytes, salt }) {
      const there = endOf(library);
      await there.came;
      const whole = join(there.arrivals.take());
      return countWrong(new Float32Array(whole.buffer, 0, Math.floor(whole.length / 4)), bytes / 4, (i) =>
        valueAt(0, i, salt),
      );
    },
    close() {
      for (const { end } of ends.values()) end.close();
      ends.clear();
    },
  };
}

function join(pieces: readonly Bytes[]): Bytes {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** The bytes of whatever a library hands over. */
export function bytesOf(data: unknown): Bytes {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  throw new TabmeshError(`expected bytes, got ${Object.prototype.toString.call(data)}`);
}
