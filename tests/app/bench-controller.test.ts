// The controller of the bench page, with a worker of words.

import { describe, expect, it, vi } from 'vitest';
import { BenchController } from '../../src/app/bench/controller.ts';
import type { FromWorker, ToWorker } from '../../src/app/bench/protocol.ts';
import type { Report } from '../../src/app/bench/bench-file.ts';
import { readSettings } from '../../src/app/bench/settings.ts';
import { report, row } from '../support/bench-reports.ts';

describe('the controller', () => {
  class WordWorker extends EventTarget {
    readonly got: ToWorker[] = [];
    ended = false;
    postMessage(message: ToWorker): void {
      this.got.push(message);
    }
    terminate(): void {
      this.ended = true;
    }
    say(...messages: FromWorker[]): void {
      for (const data of messages) this.dispatchEvent(new MessageEvent('message', { data }));
    }
  }
  const begin = (hash: string, last?: Report) => {
    const workers: WordWorker[] = [];
    const kept: Report[] = [];
    const { settings, start } = readSettings(hash);
    const controller = new BenchController(
      {
        makeWorker: () => {
          workers.push(new WordWorker());
          return workers.at(-1) as unknown as Worker;
        },
        browser: async () => 'Chrome 150',
        textUrl: 'data/text',
        last,
        keep: (one) => {
          kept.push(one);
          return true;
        },
        onChange: () => {},
      },
      settings,
      start,
    );
    const open = (): void =>
      workers
        .at(-1)!
        .say(
          {
            kind: 'catalogue',
            catalogue: {
              workloads: [{ name: 'matmul', about: '', scopes: ['quick'] }],
              libraries: ['tfjs'],
              kernels: ['adamw'],
              presets: ['gpt2-nano'],
            },
          },
          { kind: 'adapter', backend: 'webgpu', adapter: 'vendor gpu', software: false },
        );
    open();
    return { controller, workers, kept, open };
  };
  const results: FromWorker = { kind: 'results', results: [row('tabmesh', 1)], missing: [] };

  it('starts by itself from a link, adds results as they come, and keeps the run', () => {
    const { controller, workers, kept } = begin('#only=matmul&peers=1&run=1');
    expect(workers[0]!.got).toEqual([
      {
        kind: 'bench',
        request: {
          ...{ backend: 'webgpu', threads: 1, workloads: ['matmul'], peers: ['tfjs'] },
          ...{ cases: [], scope: 'quick', rounds: 5, tune: 20 },
        },
      },
    ]);
    workers[0]!.say({ kind: 'status', text: 'matmul', done: 1, total: 2 }, results);
    expect(controller.state).toMatchObject({ phase: 'running', status: 'matmul', done: 1, total: 2 });
    workers[0]!.say({ kind: 'done' });
    expect(controller.state).toMatchObject({ phase: 'ready', status: 'done; 1 result, all correct', done: 2 });
    expect(kept.map(({ end, adapter, results: rows }) => [end, adapter, rows.length])).toEqual([
      ['complete', 'vendor gpu', 1],
    ]);
    expect(JSON.parse(controller.json()!)).toMatchObject({
      adapter: 'vendor gpu',
      results: [{ workload: 'matmul', library: 'tabmesh', correct: true }],
    });
    controller.run();
    expect(controller.state.last!.results).toHaveLength(1);
  });
  it('runs on WebAssembly where that is chosen, in a worker that computed on nothing else', () => {
    const { controller, workers, open } = begin('#only=matmul&run=1');
    workers[0]!.say(results, { kind: 'done' });
    controller.choose({ backend: 'wasm', threads: 2 });
    expect(controller.state).toMatchObject({ phase: 'opening', adapter: undefined });
    workers[0]!.say({ kind: 'adapter', backend: 'wasm', adapter: 'simd, 1 thread', software: false });
    expect(controller.state).toMatchObject({ phase: 'ready', adapter: 'simd, 1 thread' });
    controller.run();
    expect(workers.map(({ ended }) => ended)).toEqual([true, false]);
    expect(workers[1]!.got).toMatchObject([{ kind: 'bench', request: { backend: 'wasm', threads: 2 } }]);
    open();
    workers[1]!.say({ kind: 'adapter', backend: 'wasm', adapter: 'simd, 2 threads', software: false }, results);
    expect(controller.state).toMatchObject({
      phase: 'running',
      report: { adapter: 'simd, 2 threads', settings: 'backend=wasm&threads=2&only=matmul' },
    });
    workers[1]!.say({ kind: 'done' });
    controller.choose({ peers: 'all' });
    controller.run();
    expect(controller.state.problems).toEqual([
      'bench: libraries are compared with one thread each; choose one thread, or no library',
    ]);
  });
  it('tells why there is no device of one kind, and goes on with the other', () => {
    const { controller, workers } = begin('#backend=wasm&run=1');
    workers[0]!.say({ kind: 'no-device', backend: 'wasm', text: 'device: no SIMD' });
    expect(controller.state).toMatchObject({ phase: 'no-device', status: 'device: no SIMD', adapter: undefined });
    controller.choose({ backend: 'webgpu' });
    // The link meant the other.
    expect(controller.state).toMatchObject({ phase: 'ready', adapter: 'vendor gpu' });
    expect(workers[0]!.got).toEqual([]);
  });
  it('keeps what came before a lost GPU, says so once, and starts afresh', () => {
    const { controller, workers, open, kept } = begin('#run=1');
    workers[0]!.say({ kind: 'status', text: 'matmul 256x256x256: tabmesh', done: 1, total: 2 }, results, {
      kind: 'failed',
      what: 'lost',
      text: 'driver reset',
    });
    expect(controller.state.problems).toEqual([
      'device: the GPU was lost (driver reset) during matmul 256x256x256: tabmesh; the results so far are below; press Run to start again, with fewer workloads or a smaller scope if it happens again',
    ]);
    expect(controller.state.report).toMatchObject({ end: 'lost', results: [{ library: 'tabmesh' }] });
    expect(kept).toHaveLength(1);
    expect(workers.map(({ ended }) => ended)).toEqual([true, false]);
    // Words of the old worker no longer count.
    workers[0]!.say(results);
    expect(controller.state.report!.results).toHaveLength(1);
    open();
    expect(controller.state.phase).toBe('ready');
    // The link's start was for the first time only.
    expect(workers[1]!.got).toEqual([]);
  });
  it('ends a worker that does not hear a stop', () => {
    vi.useFakeTimers();
    try {
      const { controller, workers } = begin('#run=1');
      workers[0]!.say(results);
      controller.stop();
      expect(workers[0]!.got.at(-1)).toEqual({ kind: 'stop' });
      expect(controller.state.phase).toBe('stopping');
      vi.advanceTimersByTime(5000);
      expect(workers[0]!.ended).toBe(true);
      expect(controller.state.report).toMatchObject({ end: 'stopped', results: [{ library: 'tabmesh' }] });
      expect(controller.state.status).toBe('stopped; the results so far are below');
    } finally {
      vi.useRealTimers();
    }
  });
  it('shows after a reload what was measured before it, also in the middle of a run', () => {
    const first = begin('#only=matmul&run=1');
    first.workers[0]!.say(results);
    first.controller.leave();
    expect(first.kept.map(({ end }) => end)).toEqual(['stopped']);
    const again = begin('#only=matmul', first.kept[0]);
    expect(again.controller.state).toMatchObject({
      phase: 'ready',
      status: expect.stringMatching(/^ready; below is the last run of this browser, of /),
    });
    expect(again.controller.state.report!.results).toHaveLength(1);
    again.controller.leave();
    expect(again.kept).toEqual([]);
    // The next run is compared with it.
    again.controller.run();
    expect(again.controller.state.report!.results).toEqual([]);
    expect(again.controller.state.last!.results).toHaveLength(1);
  });
  it('says what is wrong with a link as soon as the names are known, and starts nothing', () => {
    const { controller, workers } = begin('#only=matmull&peers=tfjsx&cases=adamx&plan=gpt9&run=1');
    expect(controller.state.problems).toEqual([
      'link: unknown workload "matmull"; expected some of matmul; it is left out',
      'link: unknown library "tfjsx"; expected some of tfjs; it is left out',
      'link: unknown kernel "adamx"; expected some of adamw; it is left out',
      'link: plan is "gpt9"; expected workloads or a preset: gpt2-nano; it is left out',
    ]);
    expect(controller.state.settings).toMatchObject({ workloads: [], peers: [], cases: [], plan: 'workloads' });
    expect(workers[0]!.got).toEqual([]);
  });
  it('says what is wrong with a choice or a saved run, and loses nothing', () => {
    const { controller, workers } = begin('#only=matmull', report([row('tabmesh', 2)]));
    controller.run();
    // What the form shows, which no longer has the unknown name.
    expect(controller.state.problems.at(-1)).toBe('bench: nothing is chosen; choose a workload, or all kernels');
    expect(workers[0]!.got).toEqual([]);
    controller.compareWithLast();
    controller.compareWith('old.json', '{"adapter":1}');
    expect(controller.state.problems.at(-1)).toContain('saved run: at adapter: expected a text, got 1');
    expect(controller.state.baseline!.name).toBe('the last run');
  });
  it('tells with a run only what is noted in it', () => {
    const { controller, workers } = begin('#only=matmul');
    controller.tune();
    workers[0]!.say({ kind: 'note', text: 'out of time' }, { kind: 'done' });
    expect(controller.state.notes).toEqual(['out of time']);
    controller.run();
    expect(controller.state.notes).toEqual([]);
    workers[0]!.say({ kind: 'note', text: 'tfjs is slow' }, { kind: 'done' });
    expect(controller.state.notes).toEqual(['tfjs is slow']);
  });
  it('asks for the shapes of a preset, and collects decisions', () => {
    const { controller, workers } = begin('#plan=gpt2-nano&budget=3&run=tune');
    expect(workers[0]!.got).toEqual([
      { kind: 'tune', request: { shapesOf: { preset: 'gpt2-nano' }, budget: 3, textUrl: 'data/text' } },
    ]);
    const picked = { variant: 'vec4', constants: {} };
    workers[0]!.say(
      {
        kind: 'decision',
        decision: {
          kernel: 'matmul',
          shapeClass: '',
          params: {},
          ...picked,
          default: picked,
          candidates: [],
          refused: [],
          remembered: false,
          complete: true,
        },
      },
      { kind: 'done' },
    );
    expect(controller.state).toMatchObject({ phase: 'ready', status: 'tuned; 1 choice below' });
    controller.choose({ plan: 'gpt9' });
    controller.tune();
    expect(controller.state.problems).toEqual(['link: plan is "gpt9"; expected workloads or a preset: gpt2-nano']);
  });
});
