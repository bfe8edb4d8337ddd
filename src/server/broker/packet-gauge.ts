// Walks over the bytes that one MQTT client sends, without keeping them: how large each packet says it is and of which
// kind, so that a client which announces a packet of 200 MB, or floods, is closed before anything is stored. Source:
// OASIS MQTT 3.1.1, section 2.2 (fixed header: kind in the upper half of the first byte, then the remaining length in
// one to four bytes of seven bits).

export class PacketGauge {
  readonly #maxBytes: number;
  readonly #onPacket: (kind: number) => void;
  #kind: number | undefined;
  #length = 0;
  #shift = 0;
  #left = 0;

  /** @param onPacket called with the kind (1 to 14) of each packet when its header is complete. */
  constructor(maxBytes: number, onPacket: (kind: number) => void) {
    this.#maxBytes = maxBytes;
    this.#onPacket = onPacket;
  }

  /** Why these bytes are refused; undefined if they are fine. */
  take(bytes: Uint8Array): string | undefined {
    for (let at = 0; at < bytes.length;) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, bytes.length - at);
        this.#left -= skipped;
        at += skipped;
      } else if (this.#kind === undefined) this.#kind = bytes[at++]! >> 4;
      else {
        const byte = bytes[at++]!;
        this.#length += (byte & 127) * 2 ** this.#shift;
        this.#shift += 7;
        if (byte > 127 && this.#shift < 28) continue;
        if (byte > 127) return 'expected a length of at most four bytes';
        if (this.#length > this.#maxBytes)
          return `expected a packet of at most ${this.#maxBytes} bytes, got one of ${this.#length}`;
        this.#onPacket(this.#kind);
        this.#left = this.#length;
        this.#kind = undefined;
        this.#length = this.#shift = 0;
      }
    }
    return undefined;
  }
}
