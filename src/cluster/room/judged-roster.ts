// The rosters of a room, acted on once the laws that they bring were judged: these say whose wishes count, and who is
// here.

import type { Presence } from '../presence.ts';
import type { Rights } from './rights.ts';

type Roster = readonly Presence[];

export class JudgedRoster {
  readonly #rights: Pick<Rights, 'hasJudged' | 'learn'>;
  readonly #act: (roster: Roster) => void;
  readonly #closed: () => boolean;
  #newest: Roster = [];
  /** While laws are judged, and until the newest roster was acted on. */
  #judging: Promise<void> | undefined;

  constructor(rights: Pick<Rights, 'hasJudged' | 'learn'>, act: (roster: Roster) => void, closed: () => boolean) {
    this.#rights = rights;
    this.#act = act;
    this.#closed = closed;
  }

  /** At once if there is nothing to judge; otherwise resolves when the newest roster was acted on. */
  take(roster: Roster): void | Promise<void> {
    this.#newest = roster;
    if (!this.#judging && this.#rights.hasJudged(roster)) return this.#act(roster);
    this.#judging ??= this.#judge().finally(() => {
      this.#judging = undefined;
    });
    return this.#judging;
  }

  async #judge(): Promise<void> {
    let judged: Roster;
    do {
      judged = this.#newest;
      await this.#rights.learn(judged);
      if (this.#closed()) return;
      this.#act(judged);
    } while (judged !== this.#newest);
  }
}
