// What the ranks of this page tell, and what it means for the page and for the room.

import { TabmeshError } from '../../../base/errors.ts';
import { describeEnd } from '../../../train/describe-end.ts';
import type { RankEvent } from '../../../../workers/protocol.ts';
import type { Reporter } from '../reporter.ts';
import { failureSentence } from '../room/run-of-place.ts';
import type { RunView } from '../run-view.ts';
import type { PageLife } from './page-life.ts';
import type { RoomSeat } from './room-seat.ts';

export class RankEvents {
  readonly #page: PageLife;
  readonly #seat: RoomSeat;
  readonly #reporter: Reporter;

  constructor(page: PageLife, seat: RoomSeat, reporter: Reporter) {
    this.#page = page;
    this.#seat = seat;
    this.#reporter = reporter;
  }

  take(run: RunView, rank: number, event: RankEvent): void {
    this.#reporter.rank(rank, event);
    if (this.#page.state.run !== run) return;
    run.apply(rank, event, performance.now());
    const { acts, files, keeper } = this.#seat.parts;
    if (files.took(event)) return;
    if (keeper.took(event, this.#seat.session?.me.run?.run)) return acts.served('save');
    this.#seat.parts.watch.event(run, event);
    const watched = rank === run.watched;
    switch (event.kind) {
      case 'status':
        if (watched) this.#page.change({ status: event.text });
        return;
      case 'ready':
        if (watched && this.#page.state.phase === 'training') this.#page.change({ status: 'training' });
        return;
      case 'note':
        if (watched) this.#page.change({ status: `step ${event.step}: ${event.text}` });
        return;
      case 'done':
        if (!watched) return;
        this.#seat.parts.acts.over();
        this.#seat.parts.resume.ended({});
        this.#page.change({ phase: 'done', status: describeEnd(event), stays: !this.#seat.session });
        return this.#seat.session?.finish(event.stopped ? 'stopped' : 'done', event.steps);
      case 'failed':
        // Who has stopped it hears the others go.
        if (this.#page.state.phase === 'stopping' && !run.ready) return;
        this.#seat.parts.acts.over();
        this.#seat.parts.resume.ended(this.#seat.parts.files.declined ? {} : event);
        this.#rankFailed(run, event);
        this.#seat.session?.finish('failed', run.step);
        // The next group forms without this tab.
        if (this.#seat.parts.files.declined) this.#seat.rest();
        return;
      case 'step':
        return this.#page.change(
          watched && this.#page.state.phase === 'training' && this.#seat.parts.keeper.isPassing(this.#page.state.status)
            ? { status: 'training' }
            : {},
        );
      case 'sample':
        acts.served('sample');
        return this.#page.change({});
      default:
        this.#page.change({});
    }
  }

  /** Every rank tells the same failure; the culprit's own words are enough. */
  #rankFailed(run: RunView, event: Extract<RankEvent, { kind: 'failed' }>): void {
    const { message } = event;
    const told = this.#page.state.problems.some((known) => known.includes(message) || message.includes(known));
    if (told) return this.#page.change({ phase: 'failed' });
    void this.#seat.session?.examine();
    this.#page.fail(
      new TabmeshError(
        failureSentence(
          run,
          event,
          this.#seat.session ? this.#seat.parts.resume.advice : '; train again, or resume from the last checkpoint',
        ),
      ),
    );
  }
}
