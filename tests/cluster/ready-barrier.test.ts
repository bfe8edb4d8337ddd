import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { missing, newBarrier, stepBarrier } from '../../src/cluster/ready-barrier.ts';
import type { Barrier, BarrierAction, BarrierEvent } from '../../src/cluster/ready-barrier.ts';
import type { LinkState, Report } from '../../src/cluster/messages.ts';

const names = (size: number): string[] => Array.from({ length: size }, (_, rank) => `Tab ${rank}`);
const open: LinkState = { state: 'open', attempt: 1 };
const connecting: LinkState = { state: 'connecting', attempt: 1 };
const failed: LinkState = { state: 'failed', attempt: 1, reason: 'Ice connection failed.' };

function report(rank: number, size: number, links: (peer: number) => LinkState = () => open, ready = true): Report {
  return {
    rank,
    ready,
    note: ready ? '' : 'compiling kernels',
    links: names(size).map((_, peer) => (peer === rank ? undefined : links(peer))),
  };
}

function play(barrier: Barrier, events: readonly BarrierEvent[]): { state: Barrier; actions: BarrierAction[] } {
  const actions: BarrierAction[] = [];
  let state = barrier;
  for (const event of events) {
    const step = stepBarrier(state, event);
    state = step.state;
    actions.push(...step.actions);
  }
  return { state, actions };
}
const reported = (value: Report, view = 1): BarrierEvent => ({ type: 'report', view, report: value });
const deadline: BarrierEvent = { type: 'deadline', view: 1 };
const kinds = (actions: readonly BarrierAction[]): string[] => actions.map((action) => action.type);

describe('start', () => {
  test('comes once, with the last missing report', () => {
    const { state, actions } = play(
      newBarrier(1, names(3)),
      [0, 1, 2].map((rank) => reported(report(rank, 3))),
    );
    expect(kinds(actions)).toEqual(['status', 'status', 'start']);
    expect(state.outcome).toBe('started');
    expect(stepBarrier(state, reported(report(0, 3))).actions).toEqual([]);
  });

  test('a single rank starts when its worker is ready', () => {
    const { actions } = play(newBarrier(1, ['Tab 0']), [
      reported(report(0, 1, undefined, false)),
      reported(report(0, 1)),
    ]);
    // It has no pairs to count.
    expect(actions).toEqual([{ type: 'status', text: 'getting the worker ready' }, { type: 'start' }]);
  });

  test('any order, any repetition and any stale report in between: the same end', () => {
    const size = 4;
    const needed = names(size).map((_, rank) => report(rank, size));
    const noise = fc.array(fc.record({ rank: fc.nat(size - 1), peer: fc.nat(size - 1), ready: fc.boolean() }), {
      maxLength: 20,
    });
    const orders = fc.tuple(
      fc.shuffledSubarray(needed, { minLength: size }),
      noise,
      fc.array(fc.nat(1000), { minLength: 24, maxLength: 24 }),
    );
    const check = (step: typeof stepBarrier): void =>
      fc.assert(
        fc.property(orders, ([finals, stale, places]) => {
          const events = finals.map((value) => reported(value));
          stale.forEach(({ rank, peer, ready }, i) => {
            events.splice(
              places[i]! % (events.length + 1),
              0,
              reported(report(rank, size, (other) => (other === peer ? connecting : open), ready)),
            );
          });
          let state = newBarrier(1, names(size));
          let starts = 0;
          for (const event of events) {
            const next = step(state, event);
            state = next.state;
            starts += next.actions.filter((action) => action.type === 'start').length;
          }
          expect([state.outcome, starts]).toEqual(['started', 1]);
        }),
        { numRuns: 300 },
      );
    check(stepBarrier);
    // A barrier that believes the latest report, and not the best of each attempt, is caught.
    expect(() =>
      check((state, event) =>
        stepBarrier(
          {
            ...state,
            reports: state.reports.map((known) =>
              event.type === 'report' && known?.rank === event.report.rank ? undefined : known,
            ),
          },
          event,
        ),
      ),
    ).toThrow(/Property failed/);
  });

  test('never while a pair is open at one end only, or a worker is not ready', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 4 }),
        fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }),
        (size, bits) => {
          const linkOf = (rank: number, peer: number): LinkState => (bits[rank * size + peer] ? open : connecting);
          const events = names(size).map((_, rank) =>
            reported(report(rank, size, (peer) => linkOf(rank, peer), bits[16 + rank] ?? true)),
          );
          const complete = names(size).every(
            (_, rank) =>
              (bits[16 + rank] ?? true) && names(size).every((_, peer) => peer === rank || linkOf(rank, peer) === open),
          );
          expect(play(newBarrier(1, names(size)), events).state.outcome).toBe(complete ? 'started' : 'waiting');
        },
      ),
    );
  });

  test('two ends that are open in different attempts are not connected', () => {
    const { state } = play(newBarrier(1, names(2)), [
      reported(report(0, 2, () => ({ state: 'open', attempt: 2 }))),
      reported(report(1, 2)),
    ]);
    expect(state.outcome).toBe('waiting');
  });

  test('reports of another view, and malformed ones, change nothing', () => {
    const barrier = newBarrier(2, names(2));
    expect(stepBarrier(barrier, reported(report(0, 2), 1)).state).toBe(barrier);
    expect(stepBarrier(barrier, reported(report(0, 3), 2)).state).toBe(barrier);
    expect(stepBarrier(barrier, reported({ ...report(0, 2), rank: 5 }, 2)).state).toBe(barrier);
  });
});

describe('retry', () => {
  test('a failed pair is connected anew at once, with its reason, until the attempts are used up', () => {
    const size = 3;
    const others = [reported(report(0, size)), reported(report(2, size, (peer) => (peer === 1 ? connecting : open)))];
    const failing = (attempt: number): BarrierEvent =>
      reported(report(1, size, (peer) => (peer === 2 ? { ...failed, attempt } : open)));
    const { actions } = play(newBarrier(1, names(size)), [...others, failing(1), failing(2), failing(3)]);
    expect(actions.filter((action) => action.type === 'retry')).toEqual([
      { type: 'retry', pairs: [{ low: 1, high: 2, attempt: 2 }] },
      { type: 'retry', pairs: [{ low: 1, high: 2, attempt: 3 }] },
    ]);
    expect(actions).toContainEqual({
      type: 'status',
      text: 'connecting again: rank 1 (Tab 1) <-> rank 2 (Tab 2): Ice connection failed.; attempt 2 of 3',
    });
    expect(actions.at(-1)).toEqual({
      type: 'fail',
      again: false,
      reason:
        '3 attempts to connect failed: rank 1 (Tab 1) <-> rank 2 (Tab 2): Ice connection failed.; if the tabs are in different networks, set a TURN server',
    });
  });

  test('the same failure reported twice costs one attempt', () => {
    const event = reported(report(1, 2, () => failed));
    expect(
      play(newBarrier(1, names(2)), [event, event, event]).actions.filter((action) => action.type === 'retry'),
    ).toHaveLength(1);
  });

  test('a pair that is not open at the deadline is connected anew', () => {
    const events = [reported(report(0, 2)), reported(report(1, 2, () => connecting)), deadline];
    const { state, actions } = play(newBarrier(1, names(2)), events);
    expect(actions).toContainEqual({ type: 'retry', pairs: [{ low: 0, high: 1, attempt: 2 }] });
    expect(actions.at(-1)).toMatchObject({
      text: 'connecting again: rank 0 (Tab 0) <-> rank 1 (Tab 1): only rank 0 sees the connection; attempt 2 of 3',
    });
    const second: LinkState = { state: 'open', attempt: 2 };
    expect(
      play(state, [reported(report(0, 2, () => second)), reported(report(1, 2, () => second))]).state.outcome,
    ).toBe('started');
  });

  test('deadlines always end it, whatever is reported in between', () => {
    const events = fc.array(
      fc.record({
        rank: fc.nat(2),
        peer: fc.nat(2),
        state: fc.constantFrom<LinkState>(open, connecting, failed),
        ready: fc.boolean(),
      }),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(events, (list) => {
        const before = list.map(({ rank, peer, state, ready }) =>
          reported(report(rank, 3, (other) => (other === peer ? state : connecting), ready)),
        );
        const { state } = play(newBarrier(1, names(3)), [...before, ...new Array<BarrierEvent>(6).fill(deadline)]);
        expect(state.outcome).toBe('failed');
      }),
    );
  });
});

test('what the connection doctors of both ends say replaces "no connection in time" and the general advice', () => {
  const noted = (rank: number, note: string): BarrierEvent =>
    reported(report(rank, 2, () => ({ state: 'connecting', attempt: 1, note })));
  const end = (events: readonly BarrierEvent[]): unknown =>
    play(newBarrier(1, names(2), 1), [...events, deadline]).actions.at(-1);
  const start = '1 attempts to connect failed: rank 0 (Tab 0) <-> rank 1 (Tab 1): ';
  expect(end([noted(0, 'early'), noted(0, 'TURN says 401'), noted(1, 'no addresses')])).toEqual({
    type: 'fail',
    again: false,
    reason: `${start}rank 0 sees: TURN says 401; rank 1 sees: no addresses`,
  });
  expect(end([noted(0, 'no route'), noted(1, 'no route')])).toEqual({
    type: 'fail',
    again: false,
    reason: `${start}no route`,
  });
  // A failure keeps its own words beside the verdict.
  const broke = reported(report(1, 2, () => ({ ...failed, note: 'no route' })));
  expect(end([noted(0, 'no addresses'), broke])).toMatchObject({
    reason: `${start}rank 0 sees: no addresses; rank 1 sees: Ice connection failed: no route`,
  });
  expect(
    end([noted(0, 'no addresses'), reported(report(1, 2, () => ({ ...failed, reason: 'not transferable' })))]),
  ).toMatchObject({ reason: `${start}rank 0 sees: no addresses; rank 1 sees: not transferable` });
  // A report without a note takes none back, and a link that is open has none.
  expect(end([noted(0, 'no route'), reported(report(0, 2, () => connecting)), reported(report(1, 2))])).toEqual({
    type: 'fail',
    again: false,
    reason: `${start}no route`,
  });
  expect(end([reported(report(0, 2, () => connecting)), reported(report(1, 2, () => connecting))])).toMatchObject({
    reason: `${start}no connection in time; if the tabs are in different networks, set a TURN server`,
  });
});

test('a silent member and a slow worker are named', () => {
  const { state, actions } = play(newBarrier(1, names(2)), [
    reported(report(0, 2, () => connecting, false)),
    deadline,
    deadline,
    deadline,
  ]);
  expect(missing(state)).toEqual([
    'rank 0 (Tab 0): compiling kernels',
    'rank 1 (Tab 1): no report yet',
    'rank 0 (Tab 0) <-> rank 1 (Tab 1): no connection in time',
  ]);
  expect(actions.at(-1)).toMatchObject({
    type: 'fail',
    again: false,
    reason: expect.stringContaining('rank 1 (Tab 1): no report yet') as string,
  });
});

test('a member that leaves ends the view for all, and the rest may form another', () => {
  const { state, actions } = play(newBarrier(1, names(3)), [reported(report(0, 3)), { type: 'left', rank: 2 }]);
  expect(state.outcome).toBe('failed');
  expect(actions.at(-1)).toEqual({
    type: 'fail',
    reason: 'rank 2 (Tab 2) left while the tabs were connecting',
    again: true,
  });
});
