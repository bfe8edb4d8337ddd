// What a run does while nobody trains: between two steps of a pause, or after its last step. All ranks wait at the same
// place. Rank 0 hears its page and tells the others: go on, or serve what is wanted (a sample, a checkpoint, a stop),
// which all ranks then do together. No timer; a peer that goes ends the wait.

import type { PeerError } from '../../base/errors.ts';
import { allGather } from '../../collectives/all-gather.ts';
import { broadcast } from '../../collectives/broadcast.ts';
import type { Group } from '../../collectives/group.ts';
import type { Requests } from '../step/requests.ts';

/** What rank 0's page wants of a run that waits. */
export type Word = 'go' | 'serve';
const WORDS: readonly Word[] = ['go', 'serve'];
const FLAGS = ['stop', 'save', 'sample'] as const;

export interface WaitOptions {
  readonly world: Group;
  /** As Mesh.failed. */
  readonly failed: Promise<PeerError>;
  /** On rank 0: resolves when its page wants something. */
  next(): Promise<Word>;
  /** This rank's wishes; they are taken with this. */
  requests(): Requests;
  /** All ranks do what any of them wants. */
  serve(wanted: Requests): Promise<void>;
}

/** Resolves when the run goes on: to true when somebody stops it. Every rank must call it at the same step. */
export async function waitTogether({ world, failed, next, requests, serve }: WaitOptions): Promise<boolean> {
  // The others hear of a lost peer by what they receive; rank 0 receives nothing while it listens to its page.
  const lost = failed.then((error) => {
    throw error;
  });
  lost.catch(() => {
    /* told when rank 0 listens, and by every operation */
  });
  for (;;) {
    const word = new Uint32Array(1);
    if (world.rank === 0) word[0] = WORDS.indexOf(await Promise.race([next(), lost]));
    await broadcast(world, word, 0);
    const said = WORDS[word[0]!];
    if (said === undefined)
      throw world.accuse(0, `it says ${word[0]} to ranks that wait; expected 0 to ${WORDS.length - 1}`);
    if (said === 'go') return false;
    const wanted = await shareRequests(world, requests());
    await serve(wanted);
    if (wanted.stop) return true;
  }
}

async function shareRequests(world: Group, own: Requests): Promise<Requests> {
  const all = new Uint32Array(world.size);
  const flags = FLAGS.reduce((bits, flag, i) => bits | (Number(own[flag]) << i), 0);
  await allGather(
    world,
    Uint32Array.of(flags),
    Array.from({ length: world.size + 1 }, (_, i) => i),
    all,
  );
  const any = all.reduce((bits, word) => bits | word, 0);
  return Object.fromEntries(FLAGS.map((flag, i) => [flag, ((any >> i) & 1) === 1])) as unknown as Requests;
}
