// Files that this tab has, by hash, so that a group that is formed again fetches nothing twice. In memory, bounded:
// what was used longest ago goes first, but never what the current job needs, nor what the room was told that this tab
// keeps.

const MOST_BYTES = 512 * 2 ** 20;

export class FileShelf {
  readonly #most: number;
  /** In order of use, the latest last. */
  readonly #files = new Map<string, Uint8Array<ArrayBuffer>>();
  #needed: ReadonlySet<string> = new Set();
  readonly #kept = new Set<string>();

  constructor(most = MOST_BYTES) {
    this.#most = most;
  }

  put(hash: string, bytes: Uint8Array<ArrayBuffer>): void {
    this.#files.delete(hash);
    this.#files.set(hash, bytes);
    this.#makeRoom();
  }

  get(hash: string): Uint8Array<ArrayBuffer> | undefined {
    const bytes = this.#files.get(hash);
    if (bytes) this.put(hash, bytes);
    return bytes;
  }

  /** Stays until it is dropped. */
  keep(hash: string, bytes: Uint8Array<ArrayBuffer>): void {
    this.#kept.add(hash);
    this.put(hash, bytes);
  }

  drop(hash: string): void {
    this.#kept.delete(hash);
    this.#files.delete(hash);
  }

  /** These stay, whatever their size; those of before may go. */
  need(hashes: Iterable<string>): void {
    this.#needed = new Set(hashes);
    this.#makeRoom();
  }

  #makeRoom(): void {
    let bytes = [...this.#files.values()].reduce((sum, file) => sum + file.length, 0);
    for (const [hash, file] of this.#files) {
      if (bytes <= this.#most) return;
      if (this.#needed.has(hash) || this.#kept.has(hash)) continue;
      this.#files.delete(hash);
      bytes -= file.length;
    }
  }
}
