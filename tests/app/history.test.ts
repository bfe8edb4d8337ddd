// The history without a browser: what is kept of a run, when, how many, and what happens when the browser refuses it.

import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { hashOf, History } from '../../src/app/training/history/history.ts';
import { isKeptRun, toCsv, toJson } from '../../src/app/training/history/kept-run.ts';
import type { KeptRun } from '../../src/app/training/history/kept-run.ts';
import { historyStore, MOST_RUNS } from '../../src/app/training/history/store.ts';
import { EMPTY_STATE } from '../../src/app/training/room/page-state.ts';
import type { PageState } from '../../src/app/training/room/page-state.ts';
import { RunView } from '../../src/app/training/run-view.ts';
import { realWorld } from '../../src/base/world.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';

afterEach(() => {
  vi.unstubAllGlobals();
});

interface Lab {
  readonly history: History;
  readonly stored: Map<string, KeptRun>;
  at(ms: number): void;
  refuse(error: Error | undefined): void;
}

function lab(): Lab {
  const stored = new Map<string, KeptRun>();
  let [now, id] = [0, 0];
  let refusal: Error | undefined;
  const ask = <T>(work: () => T): Promise<T> => (refusal ? Promise.reject(refusal) : Promise.resolve(work()));
  const history = new History({
    store: {
      all: () => ask(() => [...stored.values()].reverse()),
      put: (run) =>
        ask(() => {
          stored.set(run.id, structuredClone(run));
        }),
      delete: (gone) =>
        ask(() => {
          stored.delete(gone);
        }),
    },
    world: {
      now: () => now,
      timer: () => () => undefined,
      randomBytes: (length) => {
        const bytes = new Uint8Array(length);
        new DataView(bytes.buffer).setUint32(0, ++id);
        return bytes;
      },
    },
    date: () => 1_000_000 + now,
    digest: (bytes) => Promise.resolve(`hash ${bytes.join()}`),
    onChange: () => undefined,
  });
  return {
    history,
    stored,
    at: (ms) => {
      now = ms;
    },
    refuse: (error) => {
      refusal = error;
    },
  };
}

function trained(
  steps: number,
  from = 0,
  run = new RunView(
    parseRunConfig([
      ['steps', 100],
      ['layout', 'dp=2'],
    ]),
  ),
): RunView {
  run.opened(0, { kind: 'cpu', adapter: { vendor: '', architecture: '', description: 'a processor', software: true } });
  for (let step = from; step < steps; step++) {
    run.apply(
      0,
      {
        kind: 'step',
        metrics: {
          step,
          loss: 5 - step / 100,
          gradNorm: 1,
          lr: 0.1,
          tokens: 10,
          ms: 5,
          bytesSent: {},
          spans: [],
          requests: { stop: false, save: false, sample: false },
        },
        memoryBytes: 1,
      },
      step,
    );
  }
  return run;
}
const state = (run: RunView, phase: PageState['phase'], more: Partial<PageState> = {}): PageState => ({
  ...EMPTY_STATE,
  run,
  phase,
  ...more,
});

/** As much of an IDBDatabase as reading everything takes. */
class FakeDatabase {
  closed = false;
  onversionchange = (): void => undefined;
  close(): void {
    this.closed = true;
  }
  transaction(): unknown {
    if (this.closed) throw new Error('the database is closed');
    const transaction = { oncomplete: () => undefined, objectStore: () => ({ getAll: () => ({ result: [] }) }) };
    queueMicrotask(() => transaction.oncomplete());
    return transaction;
  }
}

describe('the history', () => {
  it('keeps a run while it trains, not with every step, and how it ended', async () => {
    const { history, stored, at } = lab();
    const run = trained(1);
    history.show(state(run, 'training'));
    trained(3, 1, run);
    history.show(state(run, 'training'));
    await history.settled();
    expect([...stored.values()].map(({ step, outcome }) => [step, outcome])).toEqual([[1, 'running']]);
    at(5001);
    history.show(state(run, 'training'));
    await history.settled();
    expect([...stored.values()][0]!.step).toBe(3);
    history.show(state(trained(4, 3, run), 'done'));
    await history.settled();
    const [kept] = [...stored.values()];
    expect(kept).toMatchObject({
      step: 4,
      outcome: 'done',
      name: 'gpt2-nano, moby-dick, dp=2',
      adapter: 'a processor',
      tokens: 40,
      config: { layout: 'dp=2', steps: 100 },
    });
    expect(kept!.curves.loss.x).toEqual([1, 2, 3, 4]);
    expect(isKeptRun(kept)).toBe(true);
    // A run that never made a step, and one that is watched, are none of ours.
    history.show(state(new RunView(run.config), 'failed'));
    history.show(state(trained(9), 'training', { watching: [] }));
    await history.settled();
    expect(stored.size).toBe(1);
  });

  it('knows the run that is at work here from one that never ended', async () => {
    const { history } = lab();
    const run = trained(1);
    expect(history.atWork).toBeUndefined();
    history.show(state(run, 'training'));
    const { id } = history.runs[0]!;
    expect(history.atWork).toBe(id);
    history.show(state(run, 'paused'));
    expect(history.atWork).toBe(id);
    history.show(state(run, 'done'));
    expect(history.atWork).toBeUndefined();
    // Its group broke up and another is formed, or another run is watched.
    for (const other of [{}, { run: new RunView(run.config), watching: [] }]) {
      const next = trained(1);
      history.show(state(next, 'training'));
      expect(history.atWork).toBe(history.runs[0]!.id);
      history.show({ ...EMPTY_STATE, phase: 'starting', ...other });
      expect([history.atWork, history.runs[0]!.outcome]).toEqual([undefined, 'running']);
    }
    await history.settled();
  });

  it('leaves a run as it ended, whatever the page does after it, and adds what its model writes', async () => {
    const { history, stored, at } = lab();
    const run = trained(3);
    history.show(state(run, 'done'));
    for (const [i, phase] of (['starting', 'idle', 'starting', 'failed', 'idle'] as const).entries()) {
      at(10_000 * (i + 1));
      history.show(state(run, phase));
    }
    await history.settled();
    expect([...stored.values()]).toMatchObject([{ outcome: 'done', changedAtMs: 1_000_000, samples: [] }]);
    run.apply(0, { kind: 'sample', step: 3, text: 'call me' }, 0);
    at(70_000);
    history.show(state(run, 'failed'));
    at(80_000);
    history.show(state(run, 'idle'));
    await history.settled();
    const written = [{ step: 3, text: 'call me' }];
    expect([...stored.values()]).toMatchObject([{ outcome: 'done', changedAtMs: 1_070_000, samples: written }]);
  });

  it('brings the curve back for a run that goes on from one of its checkpoints, and for no other', async () => {
    const { history } = lab();
    const run = trained(6);
    history.show(state(run, 'training'));
    history.show(state(run, 'training', { checkpoint: { step: 4, bytes: new Uint8Array([4]) } }));
    await history.settled();
    await expect.poll(() => history.runs[0]!.checkpoints).toEqual(['hash 4']);
    history.rename(history.runs[0]!.id, '  my run ');
    await history.goOnFrom(new Uint8Array([4]), 4, run.config);
    const resumed = new RunView(run.config);
    history.show(state(resumed, 'starting', { checkpoint: { step: 4, bytes: new Uint8Array([4]) } }));
    expect([resumed.loss.x, resumed.step, resumed.tokens]).toEqual([[1, 2, 3, 4], 4, 40]);
    history.show(state(trained(5, 4, resumed), 'done'));
    expect(resumed.tokens).toBe(50);
    expect(history.runs[0]).toMatchObject({ name: 'my run', step: 5 });
    expect(history.runs[0]!.curves.loss.x).toEqual([1, 2, 3, 4, 5]);
    const stranger = new RunView(run.config);
    await history.goOnFrom(new Uint8Array([9]), 9, run.config);
    history.show(state(stranger, 'starting'));
    expect(stranger.loss.x).toEqual([]);
    // What was meant for a run that never began is not given to the next one.
    await history.goOnFrom(new Uint8Array([4]), 4, run.config);
    history.goOnFromNothing();
    const fresh = new RunView(run.config);
    history.show(state(fresh, 'starting'));
    expect(fresh.step).toBe(0);
  });

  it('gives the curve to the run that was asked for, and to none that comes instead', async () => {
    const { history } = lab();
    const run = trained(6);
    history.show(state(run, 'training'));
    history.show(state(run, 'training', { checkpoint: { step: 4, bytes: new Uint8Array([4]) } }));
    await expect.poll(() => history.runs[0]!.checkpoints).toEqual(['hash 4']);
    history.show(state(run, 'done'));
    const ask = async (): Promise<void> => {
      await history.goOnFrom(new Uint8Array([4]), 4, run.config);
      history.show({ ...EMPTY_STATE, phase: 'starting' });
    };
    const next = (config = run.config): readonly number[] => {
      const view = new RunView(config);
      history.show(state(view, 'starting'));
      return view.loss.x;
    };
    // Refused, withdrawn, or failed before there was a run.
    for (const phase of ['idle', 'failed'] as const) {
      await ask();
      history.show({ ...EMPTY_STATE, phase });
      history.show({ ...EMPTY_STATE, phase: 'starting' });
      expect(next(), phase).toEqual([]);
      history.show({ ...EMPTY_STATE, phase: 'idle' });
    }
    await ask();
    expect(
      next(
        parseRunConfig([
          ['steps', 100],
          ['layout', 'dp=2'],
          ['seed', 7],
        ]),
      ),
      'of somebody else',
    ).toEqual([]);
    expect(next()).toEqual([1, 2, 3, 4]);
    history.show({ ...EMPTY_STATE, phase: 'starting' });
    expect(next(), 'formed anew').toEqual([1, 2, 3, 4]);
    const resumed = new RunView(run.config);
    history.show(state(resumed, 'starting'));
    history.show(state(trained(5, 4, resumed), 'training'));
    expect(next(), 'another one after it').toEqual([]);
  });

  it('costs no run: a checkpoint that it cannot tell from others is one of an unknown run', async () => {
    let told = 0;
    const refuse = (): Promise<never> => Promise.reject(new Error('no memory'));
    const history = new History({
      store: { all: refuse, put: refuse, delete: refuse },
      world: realWorld,
      date: () => 0,
      digest: refuse,
      onChange: () => {
        told++;
      },
    });
    const run = new RunView(parseRunConfig([]));
    for (let i = 0; i < 2; i++) await history.goOnFrom(new Uint8Array([4]), 4, run.config);
    expect([history.trouble, told]).toEqual([expect.stringContaining('no history (no memory)'), 1]);
    history.show(state(run, 'starting'));
    expect(run.loss.x).toEqual([]);
  });

  it('knows a checkpoint by its SHA-256, and without https by another hash', async () => {
    const [some, other] = [new Uint8Array(600_000).fill(1), new Uint8Array(600_000).fill(2)];
    const sha256 = createHash('sha256').update(some).digest('hex');
    expect(await hashOf(some)).toBe(sha256);
    vi.stubGlobal('crypto', {});
    const hashes = [await hashOf(some), await hashOf(some.slice()), await hashOf(other)];
    expect(hashes[1]).toBe(hashes[0]);
    expect(new Set([...hashes, sha256]).size).toBe(3);
    expect(hashes[0]).toMatch(/^[0-9a-f]{64}$/);
  });

  it('is bounded: the oldest goes', async () => {
    const { history, stored, at } = lab();
    for (let i = 0; i < MOST_RUNS + 3; i++) {
      at(i * 10_000);
      history.show(state(trained(1), 'done'));
    }
    await history.settled();
    expect([history.runs.length, stored.size]).toEqual([MOST_RUNS, MOST_RUNS]);
    expect(Math.min(...[...stored.values()].map(({ startedAtMs }) => startedAtMs))).toBe(1_000_000 + 30_000);
  });

  it('lets the oldest go before it writes, since the store may be full', async () => {
    const stored = new Set<string>();
    const put = ({ id }: KeptRun): Promise<void> => {
      if (stored.size >= MOST_RUNS && !stored.has(id)) return Promise.reject(new Error('full'));
      return Promise.resolve(void stored.add(id));
    };
    const gone = (id: string): Promise<void> => Promise.resolve(void stored.delete(id));
    const history = new History({
      store: { all: () => Promise.resolve([]), put, delete: gone },
      world: realWorld,
      date: () => 0,
      digest: hashOf,
      onChange: () => undefined,
    });
    for (let i = 0; i < MOST_RUNS + 2; i++) history.show(state(trained(1), 'done'));
    await history.settled();
    expect([history.trouble, stored.size]).toEqual(['', MOST_RUNS]);
  });

  it('opens its store anew after another tab had it closed', async () => {
    const databases: FakeDatabase[] = [];
    vi.stubGlobal('indexedDB', {
      open: () => {
        const request = { result: new FakeDatabase(), onsuccess: () => undefined };
        databases.push(request.result);
        queueMicrotask(() => request.onsuccess());
        return request;
      },
    });
    expect(await historyStore.all()).toEqual([]);
    expect(await historyStore.all()).toEqual([]);
    expect(databases).toHaveLength(1);
    databases[0]!.onversionchange();
    expect(databases[0]!.closed).toBe(true);
    expect(await historyStore.all()).toEqual([]);
    expect(databases).toHaveLength(2);
  });

  it('forgets a run that was deleted, also the one at work', async () => {
    const { history, stored, at } = lab();
    const run = trained(1);
    history.show(state(run, 'training'));
    history.delete(history.runs[0]!.id);
    at(10_000);
    history.show(state(trained(5, 1, run), 'done'));
    await history.settled();
    expect([history.runs, stored.size]).toEqual([[], 0]);
  });

  it('says in one sentence that the browser refuses it, and goes on', async () => {
    const { history, refuse } = lab();
    refuse(new Error('the storage is full'));
    await history.load();
    history.show(state(trained(2), 'done'));
    await history.settled();
    expect(history.trouble).toMatch(
      /^this browser keeps no history \(the storage is full\); what you see is gone with this page$/,
    );
    expect(history.runs).toHaveLength(1);
    refuse(undefined);
    history.rename(history.runs[0]!.id, 'again');
    await history.settled();
    expect(history.trouble).toBe('');
  });

  it('thins long curves to their shape and keeps the last point', () => {
    const { history } = lab();
    history.show(
      state(
        trained(
          3001,
          0,
          new RunView(
            parseRunConfig([
              ['steps', 5000],
              ['layout', 'dp=2'],
            ]),
          ),
        ),
        'done',
      ),
    );
    const { x } = history.runs[0]!.curves.loss;
    expect(x.length).toBeLessThanOrEqual(1001);
    expect([x.length > 500, x.at(-1)]).toEqual([true, 3001]);
  });

  it('is exported as CSV and JSON', () => {
    const { history } = lab();
    const run = trained(2);
    run.apply(0, { kind: 'evaluation', step: 2, loss: 4.5 }, 0);
    history.show(state(run, 'done'));
    expect(toCsv(history.runs[0]!)).toBe(
      'step,loss,held_out_loss,tokens_per_second,gradient_norm,learning_rate\r\n1,5,,2000,1,0.1\r\n2,4.99,4.5,2000,1,0.1\r\n',
    );
    expect(JSON.parse(toJson(history.runs[0]!))).toMatchObject({
      format: 'tabmesh-run/1',
      step: 2,
      curves: { loss: { y: [5, 4.99] } },
    });
  });

  it('keeps the accuracy of a task, and runs that were kept before there was one', async () => {
    const { history } = lab();
    const run = trained(
      2,
      0,
      new RunView(
        parseRunConfig([
          ['steps', 100],
          ['layout', 'dp=2'],
          ['data', 'copy'],
        ]),
      ),
    );
    run.apply(0, { kind: 'evaluation', step: 2, loss: 4.5, accuracy: 0.25 }, 0);
    history.show(state(run, 'done'));
    await history.settled();
    const [kept] = history.runs;
    expect(toCsv(kept!).split('\r\n').slice(0, 3)).toEqual([
      'step,loss,held_out_loss,held_out_accuracy,tokens_per_second,gradient_norm,learning_rate',
      '1,5,,,2000,1,0.1',
      '2,4.99,4.5,0.25,2000,1,0.1',
    ]);
    const resumed = new RunView(run.config);
    resumed.recall(kept!, 2);
    expect([resumed.accuracy.x, resumed.accuracy.y]).toEqual([[2], [0.25]]);
    const { accuracy: _, ...before } = kept!.curves;
    expect([isKeptRun(kept), isKeptRun({ ...kept, curves: before })]).toEqual([true, true]);
    expect(isKeptRun({ ...kept, curves: { ...before, accuracy: { x: [1], y: [] } } })).toBe(false);
  });

  it('leaves records of another version alone', () => {
    expect([isKeptRun(null), isKeptRun({ id: 'a' }), isKeptRun('x')]).toEqual([false, false, false]);
  });
});
