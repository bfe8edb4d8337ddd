// The state of the collectives page, and who runs the bench: finds the other tabs, asks them, keeps what was measured
// whatever ends a run.

import { AbortedError } from '../../base/errors.ts';
import { benchCollectives } from '../../bench/collectives/conductor.ts';
import type {
  CollectiveResult,
  CollectivesMeasured,
  CollectivesReport,
} from '../../bench/collectives/collectives-report.ts';
import { describeAdapter } from '../../bench/bench-report.ts';
import { openGpu } from '../../device/webgpu.ts';
import { browserName } from '../shared/browser-name.ts';
import type { UserAgentData } from '../shared/browser-name.ts';
import { sentence } from '../shared/sentence.ts';
import type { Host } from './room.ts';
import { checkMeeting } from '../../bench/collectives/link.ts';
import type { CollectivesSettings } from '../../bench/collectives/link.ts';

export interface CollectivesState {
  readonly phase: 'ready' | 'waiting' | 'running' | 'stopping';
  readonly settings: CollectivesSettings;
  readonly adapter: string;
  readonly browser: string;
  /** Tabs that have to be opened before the run can begin. */
  readonly missingTabs: number;
  readonly status: string;
  readonly done: number;
  readonly total: number;
  readonly rows: readonly CollectiveResult[];
  /** The run, once it has ended, however; or the last one of this browser. */
  readonly report: CollectivesReport | undefined;
  readonly problems: readonly string[];
}

/** Whoever waits longer for tabs that nobody opens is a program. */
const PROGRAM_WAIT_MS = 60_000;

export interface ControllerParts {
  readonly onChange: (state: CollectivesState) => void;
  readonly onRows?: (rows: readonly CollectiveResult[]) => void;
  /** The last run that this browser kept. */
  readonly last: CollectivesReport | undefined;
  /** False if it could not be kept. */
  readonly keep: (report: CollectivesReport) => boolean;
}

export class CollectivesController {
  state: CollectivesState;
  readonly #host: Host;
  readonly #onChange: (state: CollectivesState) => void;
  readonly #onRows: (rows: readonly CollectiveResult[]) => void;
  readonly #keep: (report: CollectivesReport) => boolean;
  /** Of the run at work, after its last row. */
  #measured: CollectivesMeasured | undefined;
  readonly #where: Promise<void>;
  #stop = new AbortController();

  constructor(
    host: Host,
    settings: CollectivesSettings,
    { onChange, onRows = () => undefined, last, keep }: ControllerParts,
  ) {
    this.#host = host;
    this.#onChange = onChange;
    this.#onRows = onRows;
    this.#keep = keep;
    const status =
      last === undefined
        ? 'ready'
        : `ready; below is the last run of this browser, of ${new Date(last.date).toLocaleString()}`;
    this.state = {
      phase: 'ready',
      settings,
      adapter: '',
      browser: '',
      missingTabs: 0,
      status,
      done: 0,
      total: 0,
      rows: last?.results ?? [],
      report: last,
      problems: [],
    };
    this.#where = this.#look();
  }

  get busy(): boolean {
    return this.state.phase !== 'ready';
  }

  choose(change: Partial<CollectivesSettings>): void {
    if (!this.busy) this.#set({ settings: { ...this.state.settings, ...change } });
  }

  problem(text: string): void {
    if (!this.state.problems.includes(text)) this.#set({ problems: [...this.state.problems, text] });
  }

  forget(text: string): void {
    this.#set({ problems: this.state.problems.filter((known) => known !== text) });
  }

  stop(): void {
    if (!this.busy) return;
    this.#stop.abort();
    this.#set({ phase: 'stopping', status: 'stopping' });
  }

  /**
   * Resolves when the run has ended; a failure is told in `problems`, and returned. `openTabs`: frames or windows for
   * so many missing ranks.
   */
  async run({ program = false }: { readonly program?: boolean } = {}): Promise<{
    readonly report?: CollectivesReport;
    readonly error?: string;
  }> {
    if (this.busy) return { error: 'the bench runs already' };
    const { settings } = this.state;
    try {
      checkMeeting(settings);
    } catch (error) {
      this.problem(sentence(error));
      return { error: sentence(error) };
    }
    const stop = (this.#stop = new AbortController());
    this.#measured = undefined;
    this.#set({
      phase: 'waiting',
      status: 'looking for the other tabs',
      rows: [],
      report: undefined,
      done: 0,
      total: 0,
      problems: [],
    });
    try {
      const { tabs, sizes, only, peers, rounds } = settings;
      const meeting = await this.#host.meet(
        tabs,
        settings,
        stop.signal,
        (missingTabs) => this.#set({ missingTabs }),
        program ? PROGRAM_WAIT_MS : undefined,
      );
      try {
        await this.#where;
        this.#set({ phase: 'running' });
        const stopped = new Promise<never>((_, reject) => {
          stop.signal.addEventListener('abort', () => reject(new AbortedError()), { once: true });
        });
        stopped.catch(() => undefined);
        const measured = await Promise.race([
          meeting.gone,
          stopped,
          benchCollectives(
            { ranks: tabs, sizes, only, peers, ...(rounds === undefined ? {} : { rounds }) },
            meeting.call,
            {
              onStatus: (status, done, total) => {
                if (!stop.signal.aborted) this.#set({ status, done, total });
              },
              onRows: (rows) => {
                this.#set({ rows: [...this.state.rows, ...rows] });
                this.#onRows(rows);
              },
              onMeasured: (soFar) => {
                this.#measured = soFar;
              },
              checkpoint: () => {
                if (stop.signal.aborted) throw new AbortedError();
              },
            },
          ),
        ]);
        const report = this.#finish(measured, { end: 'complete' });
        this.#set({ phase: 'ready', status: 'done', report, done: this.state.total });
        return { report };
      } finally {
        meeting.end();
      }
    } catch (error) {
      const text = sentence(error);
      const how =
        error instanceof AbortedError ? ({ end: 'stopped' } as const) : ({ end: 'failed', problem: text } as const);
      const report = this.#measured && this.#finish(this.#measured, how);
      this.#set({
        phase: 'ready',
        missingTabs: 0,
        report,
        status: report ? `${how.end}; the results so far are below` : `${how.end} before the first result`,
      });
      if (!(error instanceof AbortedError)) this.problem(text);
      return { error: text };
    }
  }

  /** The page goes away: what was measured so far is there when it comes back. */
  leave(): void {
    if (this.busy && this.#measured) this.#finish(this.#measured, { end: 'stopped' });
  }

  #finish(measured: CollectivesMeasured, how: Pick<CollectivesReport, 'end' | 'problem'>): CollectivesReport {
    const { adapter, browser } = this.state;
    const report = { adapter, browser, date: new Date().toISOString(), ...how, ...measured };
    if (!this.#keep(report))
      this.problem('storage: this browser keeps nothing for this page, so copy the JSON before you leave it');
    return report;
  }

  async #look(): Promise<void> {
    this.#set({ browser: await browserName(navigator as Navigator & { readonly userAgentData?: UserAgentData }) });
    try {
      const { adapter, device } = await openGpu(navigator.gpu);
      this.#set({ adapter: describeAdapter(adapter) });
      device.destroy();
    } catch {
      this.#set({ adapter: 'no WebGPU adapter' });
    }
  }

  #set(change: Partial<CollectivesState>): void {
    this.state = { ...this.state, ...change };
    this.#onChange(this.state);
  }
}
