// The state of the bench page, and the only one who talks to the worker. Results are added as they come, so whatever
// ends a run leaves them standing. A worker that does not hear a stop in time (a library may compute for minutes) is
// ended, and a new one is started.

import { ConfigError, InternalError } from '../../base/errors.ts';
import { quote } from '../../base/json.ts';
import type { PeerBackend } from '../../bench/problem.ts';
import type { Decision } from '../../device/tune/certificate.ts';
import { OLDER, sentence } from '../shared/sentence.ts';
import type { BenchRequest, Catalogue, FromWorker, ToWorker, TuneRequest } from './protocol.ts';
import { emptyReport, formatReport, isEmpty, parseReport } from './bench-file.ts';
import type { Report } from './bench-file.ts';
import { chosenOf, DEFAULT_SETTINGS, formatSettings } from './settings.ts';
import type { BenchSettings, Selection, Start } from './settings.ts';

export type BenchPhase = 'opening' | 'no-device' | 'ready' | 'running' | 'stopping';

/** A device that there is, or why there is none. */
export type Found = { readonly adapter: string; readonly software: boolean } | { readonly none: string };

export interface BenchState {
  readonly phase: BenchPhase;
  /** What runs, or ran last. */
  readonly tool: 'bench' | 'tuner';
  /** Of the chosen backend. */
  readonly adapter: string | undefined;
  readonly software: boolean;
  readonly devices: Partial<Readonly<Record<PeerBackend, Found>>>;
  readonly browser: string;
  readonly catalogue: Catalogue | undefined;
  readonly settings: BenchSettings;
  /** One sentence: what is measured now, or how it ended. */
  readonly status: string;
  readonly done: number;
  readonly total: number;
  readonly report: Report | undefined;
  readonly decisions: readonly Decision[];
  readonly notes: readonly string[];
  readonly problems: readonly string[];
  /** What the results are compared with. */
  readonly baseline: { readonly name: string; readonly report: Report } | undefined;
  /** The last run that this browser kept, before the one on the page. */
  readonly last: Report | undefined;
}

export interface BenchPage {
  readonly makeWorker: () => Worker;
  readonly browser: () => Promise<string>;
  readonly textUrl: string;
  readonly last: Report | undefined;
  readonly keep: (report: Report) => boolean;
  readonly onChange: (state: BenchState) => void;
}

/** A worker that does not stop within this time is ended. */
const STOP_MS = 3000;
const OWN = 'tabmesh';
const OPENING = 'looking for devices';

export class BenchController {
  state: BenchState;
  readonly #page: BenchPage;
  /** Backend and threads that the worker has computed on: what libraries keep for one does not serve another. */
  #served: string | undefined;
  #worker: Worker;
  #start: Start;
  #deadline: ReturnType<typeof setTimeout> | undefined;

  constructor(page: BenchPage, settings: BenchSettings = DEFAULT_SETTINGS, start?: Start) {
    this.#page = page;
    this.#start = start;
    this.state = {
      phase: 'opening',
      tool: 'bench',
      adapter: undefined,
      software: false,
      devices: {},
      browser: '',
      catalogue: undefined,
      settings,
      status: OPENING,
      done: 0,
      total: 0,
      // A reload, or a crash of the page, loses nothing that was measured.
      report: page.last,
      decisions: [],
      notes: [],
      problems: [],
      baseline: undefined,
      last: page.last,
    };
    this.#worker = this.#open();
    void page.browser().then((browser) => this.#set({ browser }));
  }

  get busy(): boolean {
    return this.state.phase === 'running' || this.state.phase === 'stopping';
  }

  choose(change: Partial<BenchSettings>): void {
    this.#set({ settings: { ...this.state.settings, ...change } });
    if (change.backend !== undefined && !this.busy) this.#showDevice();
  }

  run(): void {
    this.#begin('bench', ({ settings, catalogue }) => {
      const { backend, threads } = settings;
      const request: BenchRequest = {
        backend,
        threads: backend === 'wasm' ? threads : 1,
        workloads: chosenOf(
          settings.workloads,
          catalogue.workloads.map(({ name }) => name),
          'workload',
        ),
        peers: chosenOf(settings.peers, catalogue.libraries, 'library'),
        cases: chosenOf(settings.cases, catalogue.kernels, 'kernel'),
        scope: settings.scope,
        rounds: settings.rounds,
        tune: settings.tune,
      };
      if (!request.workloads.length && !request.cases.length)
        throw new ConfigError('bench', 'nothing is chosen; choose a workload, or all kernels');
      if (request.threads > 1 && request.peers.length)
        throw new ConfigError('bench', 'libraries are compared with one thread each; choose one thread, or no library');
      const serves = `${request.backend} ${request.threads}`;
      if (this.#served !== undefined && this.#served !== serves) this.#renewWorker();
      this.#served = serves;
      const { adapter = '', browser, report, last } = this.state;
      // What is on the page now is what the next run is compared with, if wanted.
      const before = report && !isEmpty(report) ? report : last;
      const empty = emptyReport(adapter, browser, new Date().toISOString(), formatSettings(settings));
      this.#set({ report: empty, last: before, notes: [] });
      return { kind: 'bench', request };
    });
  }

  tune(): void {
    this.#begin('tuner', ({ settings, catalogue }) => {
      const { plan, scope, budget } = settings;
      const presets = catalogue.presets;
      checkPlan(plan, presets);
      const workloads = chosenOf(
        settings.workloads,
        catalogue.workloads.map(({ name }) => name),
        'workload',
      );
      const request: TuneRequest = {
        shapesOf: plan === 'workloads' ? { workloads, scope } : { preset: plan },
        budget,
        textUrl: this.#page.textUrl,
      };
      this.#set({ decisions: [], notes: [] });
      return { kind: 'tune', request };
    });
  }

  /** The worker ends before its next launch; one that does not is ended. */
  stop(): void {
    if (this.state.phase !== 'running') return;
    this.#post({ kind: 'stop' });
    this.#set({ phase: 'stopping', status: `stopping (${this.state.status})` });
    this.#deadline = setTimeout(() => this.#end('stopped', ''), STOP_MS);
  }

  /** `name` says where it comes from. A text that is no saved run is a problem, and nothing else changes. */
  compareWith(name: string, text: string): void {
    try {
      const report = parseReport(text);
      if (isEmpty(report)) throw new ConfigError(name, 'the saved run has no results; choose another one');
      this.#set({ baseline: { name, report } });
    } catch (error) {
      this.problem(sentence(error));
    }
  }

  compareWithLast(): void {
    if (this.state.last) this.#set({ baseline: { name: 'the last run', report: this.state.last } });
  }

  compareWithNothing(): void {
    this.#set({ baseline: undefined });
  }

  problem(text: string): void {
    if (!this.state.problems.includes(text)) this.#set({ problems: [...this.state.problems, text] });
  }

  forget(text: string): void {
    this.#set({ problems: this.state.problems.filter((one) => one !== text) });
  }

  /** The page goes away: what was measured so far is there when it comes back. */
  leave(): void {
    const { tool, report } = this.state;
    if (this.busy && tool === 'bench' && report && !isEmpty(report)) this.#page.keep({ ...report, end: 'stopped' });
  }

  json(): string | undefined {
    return this.state.report && formatReport({ ...this.state.report, decisions: this.state.decisions });
  }

  #begin(
    tool: BenchState['tool'],
    make: (chosen: { readonly settings: BenchSettings; readonly catalogue: Catalogue }) => ToWorker,
  ): void {
    const { phase, catalogue, settings } = this.state;
    if (phase !== 'ready' || !catalogue) return;
    try {
      const message = make({ settings, catalogue });
      this.#set({ phase: 'running', tool, status: 'opening the device', done: 0, total: 0 });
      this.#post(message);
    } catch (error) {
      this.problem(sentence(error));
    }
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #open(): Worker {
    const worker = this.#page.makeWorker();
    worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
      if (worker === this.#worker) this.#take(data);
    });
    // A module that does not load gives an event without words.
    worker.addEventListener('error', (event) => {
      if (worker !== this.#worker) return;
      event.preventDefault();
      this.#end('error', event.message ? sentence(new InternalError(event.message)) : OLDER);
    });
    return worker;
  }

  #take(message: FromWorker): void {
    const { report } = this.state;
    switch (message.kind) {
      case 'catalogue':
        this.#set({ catalogue: message.catalogue });
        this.#checkSettings(message.catalogue);
        break;
      case 'adapter':
        this.#found(message.backend, { adapter: message.adapter, software: message.software });
        break;
      case 'no-device':
        this.#found(message.backend, { none: message.text });
        break;
      case 'status':
        this.#set({
          ...(this.state.phase === 'stopping' ? {} : { status: message.text }),
          done: message.done,
          total: message.total,
        });
        break;
      case 'ceilings':
        if (report) this.#set({ report: { ...report, ceilings: message.ceilings } });
        break;
      case 'results':
        if (report)
          this.#set({
            report: {
              ...report,
              results: [...report.results, ...message.results],
              missing: [...report.missing, ...message.missing],
            },
          });
        break;
      case 'cases':
        if (report) this.#set({ report: { ...report, cases: [...report.cases, ...message.results] } });
        break;
      case 'decision':
        this.#set({ decisions: [...this.state.decisions, message.decision] });
        break;
      case 'note':
        if (!this.state.notes.includes(message.text)) this.#set({ notes: [...this.state.notes, message.text] });
        break;
      case 'done':
        this.#finish('complete', this.#summary(), this.state.total);
        break;
      case 'failed':
        this.#end(message.what, message.text);
        break;
    }
  }

  #found(backend: PeerBackend, found: Found): void {
    this.#set({ devices: { ...this.state.devices, [backend]: found } });
    if (backend !== this.state.settings.backend) return;
    if (!this.busy) this.#showDevice();
    else if ('adapter' in found) {
      const { report } = this.state;
      // With the threads that it has.
      this.#set({ ...found, ...(report ? { report: { ...report, adapter: found.adapter } } : {}) });
    }
  }

  /** That of the chosen backend; what the link starts, starts with it. */
  #showDevice(): void {
    const { devices, settings, phase, status } = this.state;
    const found = devices[settings.backend];
    if (!found) this.#set({ adapter: undefined, software: false, phase: 'opening', status: OPENING });
    else if ('none' in found) {
      this.#start = undefined;
      this.#set({ adapter: undefined, software: false, phase: 'no-device', status: found.none });
    } else {
      const kept = phase === 'ready' || (phase === 'opening' && status !== OPENING);
      this.#set({ ...found, phase: 'ready', status: kept ? status : this.#ready() });
      this.#startAlone();
    }
  }

  #ready(): string {
    const { report } = this.state;
    return report && !isEmpty(report)
      ? `ready; below is the last run of this browser, of ${new Date(report.date).toLocaleString()}`
      : 'ready; nothing runs before you press Run';
  }

  /**
   * Only the catalogue knows which names there are: a link that names others is told at once, and starts nothing. What
   * is unknown is left out, so that the form shows what the next press of Run does.
   */
  #checkSettings({ workloads, libraries, kernels, presets }: Catalogue): void {
    const { settings } = this.state;
    const check = (work: () => unknown, known: Partial<BenchSettings>): void => {
      try {
        work();
      } catch (error) {
        this.#start = undefined;
        this.problem(`${sentence(error)}; it is left out`);
        this.choose(known);
      }
    };
    const among = (choice: Selection, known: readonly string[]): Selection =>
      choice === 'all' ? choice : known.filter((name) => choice.includes(name));
    const names = workloads.map(({ name }) => name);
    check(() => chosenOf(settings.workloads, names, 'workload'), { workloads: among(settings.workloads, names) });
    check(() => chosenOf(settings.peers, libraries, 'library'), { peers: among(settings.peers, libraries) });
    check(() => chosenOf(settings.cases, kernels, 'kernel'), { cases: among(settings.cases, kernels) });
    check(() => checkPlan(settings.plan, presets), { plan: DEFAULT_SETTINGS.plan });
  }

  #summary(): string {
    const { tool, report, decisions } = this.state;
    if (tool === 'tuner') return `tuned; ${decisions.length} choice${decisions.length === 1 ? '' : 's'} below`;
    const rows = [...(report?.results ?? []), ...(report?.cases ?? [])];
    const wrongOf = (own: boolean): number =>
      rows.filter(({ correct, library }) => !correct && (library === OWN) === own).length;
    const [own, others] = [wrongOf(true), wrongOf(false)];
    const verdict = own
      ? `${own} of tabmesh WRONG`
      : others
        ? `all of tabmesh correct, ${others} of other libraries wrong`
        : 'all correct';
    return `done; ${rows.length} result${rows.length === 1 ? '' : 's'}, ${verdict}`;
  }

  /** Once, when the link says so. */
  #startAlone(): void {
    const start = this.#start;
    this.#start = undefined;
    if (start === 'bench') this.run();
    if (start === 'tuner') this.tune();
  }

  /**
   * After anything but a good end a fresh worker serves the next run: libraries may hold a lost device, or still
   * compute.
   */
  #end(what: 'stopped' | 'lost' | 'error', text: string): void {
    clearTimeout(this.#deadline);
    const { phase, tool, status, done } = this.state;
    this.#renewWorker();
    if (phase !== 'running' && phase !== 'stopping') {
      this.problem(text);
      return;
    }
    const kept = tool === 'bench' ? 'the results so far are below' : 'the choices so far are below';
    if (what === 'lost')
      this.problem(
        `device: the ${this.state.settings.backend === 'wasm' ? 'WebAssembly device' : 'GPU'} was lost (${text || 'no reason given'}) during ${status}; ${kept}; press ${tool === 'bench' ? 'Run' : 'Tune'} to start again, with fewer workloads or a smaller scope if it happens again`,
      );
    if (what === 'error') this.problem(text);
    this.#finish(
      what === 'error' ? 'failed' : what,
      what === 'stopped' ? `stopped; ${kept}` : `ended early; ${kept}`,
      done,
    );
    this.#set({ phase: 'opening' });
  }

  #renewWorker(): void {
    this.#worker.terminate();
    this.#served = undefined;
    this.#worker = this.#open();
  }

  #finish(end: NonNullable<Report['end']>, status: string, done: number): void {
    clearTimeout(this.#deadline);
    const { tool, report } = this.state;
    const finished = tool === 'bench' && report ? { ...report, end } : report;
    this.#set({ phase: 'ready', status, done, report: finished });
    if (tool === 'bench' && finished && !isEmpty(finished) && !this.#page.keep(finished))
      this.#set({
        notes: [
          ...this.state.notes,
          'this browser keeps nothing for this page, so save the JSON to compare with it later',
        ],
      });
  }

  #set(change: Partial<BenchState>): void {
    this.state = { ...this.state, ...change };
    this.#page.onChange(this.state);
  }
}

function checkPlan(plan: string, presets: readonly string[]): void {
  if (plan !== 'workloads' && !presets.includes(plan))
    throw new ConfigError('link', `plan is ${quote(plan)}; expected workloads or a preset: ${presets.join(', ')}`);
}
