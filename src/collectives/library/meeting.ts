// How tabs that know nothing but a name come together on a BroadcastChannel. Each says `here` until `size` are known,
// `ready` when its channels are open, and `gone` when it gives up; of one that was closed or crashed its Web Lock
// tells. Before all are known, who goes is forgotten and another may come; after that, the meeting ends.

import { RoomError } from '../../base/errors.ts';

const WORDS = ['here', 'ready', 'gone'] as const;
interface Word {
  readonly word: (typeof WORDS)[number];
  readonly id: string;
}

export interface Meeting {
  readonly room: BroadcastChannel;
  /** Own number: 32 hexadecimal digits. */
  readonly me: string;
  readonly size: number;
  readonly timeoutMs: number;
  timer(delayMs: number, fire: () => void): () => void;
  /**
   * Calls `then` when the tab of this number is gone, unless the signal aborts before; where nobody can tell, never.
   */
  whenGone(id: string, signal: AbortSignal, then: () => void): void;
  /** Called once, when all are known, with their sorted numbers: opens the channels. */
  known(all: readonly string[]): void;
}

/** Whatever a foreign script says under our name gives undefined. */
function wordOf(data: unknown): Word | undefined {
  const { word, id } = (typeof data === 'object' && data !== null ? data : {}) as Partial<Word>;
  return word !== undefined && WORDS.includes(word) && typeof id === 'string' && /^[0-9a-f]{32}$/.test(id)
    ? { word, id }
    : undefined;
}

/** Resolves with the sorted numbers of all when all are ready. Rejects with RoomError, and says so to the others. */
export async function meet(meeting: Meeting): Promise<readonly string[]> {
  const { room, me, size, timeoutMs, timer, whenGone, known } = meeting;
  const say = (word: Word['word']): void => room.postMessage({ word, id: me } satisfies Word);
  const over = new AbortController();
  let cancel = (): void => undefined;
  try {
    return await new Promise<readonly string[]>((resolve, reject) => {
      const here = new Set([me]);
      const ready = new Set<string>();
      const gone = new Set<string>();
      let all: readonly string[] | undefined;
      const tooFew = (): string =>
        all ? `all ${size} tabs came, but only ${ready.size} were ready` : `${here.size} of ${size} tabs came`;
      cancel = timer(timeoutMs, () => reject(new RoomError('unreachable', `${tooFew()} within ${timeoutMs} ms`)));
      const look = (): void => {
        if (here.size > size) {
          reject(new RoomError('duplicate', `more than ${size} tabs came; take another name for another set`));
          return;
        }
        if (here.size < size) return;
        if (!all) {
          all = [...here].sort();
          known(all);
          ready.add(me);
          say('ready');
        }
        if (all.every((id) => ready.has(id))) resolve(all);
      };
      const lose = (id: string): void => {
        gone.add(id);
        ready.delete(id);
        if (here.delete(id) && all)
          reject(
            new RoomError(
              'closed',
              `one of the ${size} tabs went before all were ready; meet again under another name`,
            ),
          );
      };
      room.addEventListener(
        'message',
        ({ data }: MessageEvent<unknown>) => {
          const said = wordOf(data);
          if (!said || said.id === me || gone.has(said.id)) return;
          const { word, id } = said;
          if (word === 'gone') {
            lose(id);
            return;
          }
          if (!here.has(id)) {
            here.add(id);
            whenGone(id, over.signal, () => lose(id));
            // Who came later has not heard us.
            if (here.size <= size) say('here');
          }
          if (word === 'ready') ready.add(id);
          look();
        },
        { signal: over.signal },
      );
      say('here');
      look();
    });
  } catch (error) {
    say('gone');
    throw error;
  } finally {
    over.abort();
    cancel();
  }
}
