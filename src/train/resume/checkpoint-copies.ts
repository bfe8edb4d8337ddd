// Checkpoints that rank 0 has gathered go to the last rank too, which is another tab, while the training goes on: chunk
// by chunk, one at a time, so that a step's own messages have their turn between two of them. One copy is on its way at
// most: the next checkpoint waits for the one before. Both ends know when a checkpoint is made, so nobody waits for a
// copy that does not come. Cost: the bytes of the checkpoint once, over one link.

import type { Group } from '../../collectives/group.ts';
import type { Mesh } from '../../collectives/mesh.ts';
import { recv, send } from '../../collectives/point/send-recv.ts';
import { openCheckpoint } from './open-checkpoint.ts';

const CHUNK_WORDS = 64 * 1024;
/** Receives that are posted ahead. */
const AHEAD = 8;

type Bytes = Uint8Array<ArrayBuffer>;

export class CheckpointCopies {
  readonly #group: Group;
  readonly #mostBytes: number;
  readonly #onCopy: (step: number, bytes: Bytes) => void;
  #under: Promise<void> = Promise.resolve();

  /** `mostBytes`: of a checkpoint of this run. `onCopy` is called on the last rank. */
  constructor(mesh: Mesh, mostBytes: number, onCopy: (step: number, bytes: Bytes) => void) {
    this.#group = mesh.scope('checkpoint copies').world;
    this.#mostBytes = mostBytes;
    this.#onCopy = onCopy;
  }

  /**
   * All ranks call it at the same step; rank 0 with the checkpoint. Resolves when the copy before is through. Rejects
   * with PeerError.
   */
  async begin(step: number, bytes?: Bytes): Promise<void> {
    await this.#under;
    const { rank, size } = this.#group;
    if (bytes) this.#under = this.#give(bytes);
    else if (rank === size - 1) this.#under = this.#take(step);
    // Whoever awaits the next, or the end, hears of it.
    this.#under.catch(() => undefined);
  }

  /** Resolves when nothing is under way. */
  settle(): Promise<void> {
    return this.#under;
  }

  async #give(bytes: Bytes): Promise<void> {
    const last = this.#group.size - 1;
    await send(this.#group, last, Uint32Array.of(bytes.length));
    for (let at = 0; at < bytes.length; at += 4 * CHUNK_WORDS) {
      const part = bytes.slice(at, at + 4 * CHUNK_WORDS);
      const words = new Uint32Array(Math.ceil(part.length / 4));
      new Uint8Array(words.buffer).set(part);
      await send(this.#group, last, words);
    }
  }

  async #take(step: number): Promise<void> {
    const told = new Uint32Array(1);
    await recv(this.#group, 0, told);
    const length = told[0]!;
    if (length === 0 || length > this.#mostBytes)
      throw this.#group.accuse(
        0,
        `it has a checkpoint of ${length} bytes for us; one of this run has at most ${this.#mostBytes}`,
      );
    const words = new Uint32Array(Math.ceil(length / 4));
    const posted: Promise<void>[] = [];
    for (let at = 0; at < words.length; at += CHUNK_WORDS) {
      const one = recv(this.#group, 0, words.subarray(at, at + CHUNK_WORDS));
      // A failure of an earlier one ends the wait for this.
      one.catch(() => undefined);
      posted.push(one);
      if (posted.length >= AHEAD) await posted[posted.length - AHEAD];
    }
    await Promise.all(posted);
    const bytes = new Uint8Array(words.buffer, 0, length);
    this.#check(step, bytes);
    this.#onCopy(step, bytes);
  }

  #check(step: number, bytes: Bytes): void {
    let problem = '';
    try {
      const about = openCheckpoint(bytes);
      if (about.step !== step) problem = `it is of step ${about.step}`;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    if (problem) throw this.#group.accuse(0, `its checkpoint of step ${step} is none: ${problem}`);
  }
}
