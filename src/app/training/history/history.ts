// The history of runs: records the page's own run while it trains, and lets people name, compare and delete what was
// kept. Bounded; a browser that refuses storage costs the history alone, and is told in one sentence. No timer: what
// the page shows anyway makes the pace.

import { bytesToHex } from '@noble/hashes/utils.js';
import { randomHex } from '../../../base/world.ts';
import type { World } from '../../../base/world.ts';
import { chunkHashes, hashOfList } from '../../../cluster/files/shared-file.ts';
import { formatRunConfig } from '../../../train/run-config.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import { sentence } from '../../shared/sentence.ts';
import type { RunView } from '../run-view.ts';
import type { PageState } from '../room/page-state.ts';
import { keep, usualName } from './kept-run.ts';
import type { KeptRun, Outcome } from './kept-run.ts';
import { MOST_RUNS } from './store.ts';
import type { HistoryStore } from './store.ts';

const SAVE_MS = 5000;
const MOST_CHECKPOINTS = 20;

export interface HistoryOptions {
  readonly store: HistoryStore;
  readonly world: World;
  /** ms since 1970. */
  readonly date: () => number;
  readonly digest: (bytes: Uint8Array<ArrayBuffer>) => Promise<string>;
  readonly onChange: () => void;
}

interface Recording {
  readonly run: RunView;
  kept: KeptRun;
  savedAtMs: number;
  savedPhase: string;
  /** What had been written when it was saved last. */
  samples: RunView['samples'];
  checkpoint: PageState['checkpoint'];
}

export class History {
  /** Newest first. */
  runs: readonly KeptRun[] = [];
  /** Why nothing is kept, in a sentence; empty when all is well. */
  trouble = '';
  readonly #options: HistoryOptions;
  #recording: Recording | undefined;
  /**
   * The run that one with these settings goes on from, and its step; until that has made a step or comes to nothing.
   */
  #past: { readonly kept: KeptRun; readonly step: number; readonly settings: string } | undefined;
  #phase: PageState['phase'] = 'idle';
  /** The page's own run, if it shows one. */
  #shown: RunView | undefined;
  #writing: Promise<void> = Promise.resolve();
  #gone = new Set<string>();

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  async load(): Promise<void> {
    try {
      const runs = await this.#options.store.all();
      const own = this.#recording?.kept;
      this.#set(own ? [own, ...runs.filter(({ id }) => id !== own.id)] : runs);
    } catch (error) {
      this.#tell(error);
    }
  }

  /**
   * The next run of this page, if it is one of `config`, goes on from `checkpoint`: the curves and samples of the run
   * that made it come back, if this browser knows it. Never rejects: a run needs no history.
   */
  async goOnFrom(checkpoint: Uint8Array<ArrayBuffer>, step: number, config: RunConfig): Promise<void> {
    this.#past = undefined;
    try {
      const hash = await this.#options.digest(checkpoint);
      const kept = this.runs.find(({ checkpoints }) => checkpoints.includes(hash));
      this.#past = kept && { kept, step, settings: settingsOf(config) };
    } catch (error) {
      this.#tell(error);
    }
  }

  /** The next run of this page goes on from nothing. */
  goOnFromNothing(): void {
    this.#past = undefined;
  }

  /** The id of the kept run that trains on this page now. */
  get atWork(): string | undefined {
    const { run, kept } = this.#recording ?? {};
    return run && run === this.#shown && kept?.outcome === 'running' ? kept.id : undefined;
  }

  /** The page shows a state. */
  show({ run, phase, watching, checkpoint }: PageState): void {
    // What was wanted came to nothing, or is over: the next run may be another person's.
    if (phase !== this.#phase && (phase === 'idle' || phase === 'failed' || phase === 'done')) this.#past = undefined;
    this.#phase = phase;
    this.#shown = watching ? undefined : run;
    if (!run || watching) return;
    const { world } = this.#options;
    if (this.#recording?.run !== run) this.#begin(run, checkpoint);
    const recording = this.#recording!;
    if (checkpoint && checkpoint !== recording.checkpoint) {
      recording.checkpoint = checkpoint;
      void this.#made(recording, checkpoint.bytes);
    }
    if (run.step === run.from) return;
    this.#past = undefined;
    if (!isDue(recording, phase, world.now())) return;
    recording.savedAtMs = world.now();
    recording.savedPhase = phase;
    const { outcome } = recording.kept;
    this.#save(recording, outcome === 'running' ? outcomeOf(run, phase) : outcome);
  }

  rename(id: string, name: string): void {
    const words = name.trim().slice(0, 100);
    const run = this.runs.find((known) => known.id === id);
    if (!run || !words) return;
    const renamed = { ...run, name: words };
    if (this.#recording?.kept.id === id) this.#recording.kept = { ...this.#recording.kept, name: words };
    this.#set(this.runs.map((known) => (known.id === id ? renamed : known)));
    this.#write(() => this.#options.store.put(renamed));
  }

  delete(id: string): void {
    // The run at work would come back with its next step.
    this.#gone.add(id);
    this.#set(this.runs.filter((known) => known.id !== id));
    this.#write(() => this.#options.store.delete(id));
  }

  #begin(run: RunView, checkpoint: PageState['checkpoint']): void {
    const { world, date } = this.#options;
    // It stays for now: a group that was not formed is formed anew, with a view of its own.
    const past = this.#past?.settings === settingsOf(run.config) ? this.#past : undefined;
    if (past) run.recall(past.kept, past.step);
    const before = {
      id: randomHex(world, 8),
      name: past?.kept.name ?? usualName(run),
      startedAtMs: date(),
      checkpoints: [],
    };
    const kept = keep(run, 'running', { nowMs: world.now(), dateMs: date() }, before);
    this.#recording = { run, kept, savedAtMs: -Infinity, savedPhase: '', samples: run.samples, checkpoint };
  }

  async #made(recording: Recording, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      const hash = await this.#options.digest(bytes);
      const checkpoints = [...recording.kept.checkpoints, hash].slice(-MOST_CHECKPOINTS);
      recording.kept = { ...recording.kept, checkpoints };
      this.#save(recording, recording.kept.outcome);
    } catch (error) {
      this.#tell(error);
    }
  }

  #save(recording: Recording, outcome: Outcome): void {
    const { world, date, store } = this.#options;
    const kept = (recording.kept = keep(
      recording.run,
      outcome,
      { nowMs: world.now(), dateMs: date() },
      recording.kept,
    ));
    recording.samples = recording.run.samples;
    if (this.#gone.has(kept.id)) return;
    const rest = this.runs.filter(({ id }) => id !== kept.id);
    const dropped = rest.slice(MOST_RUNS - 1);
    this.#set([kept, ...rest.slice(0, MOST_RUNS - 1)]);
    this.#write(async () => {
      // First: in a store that is full they make the room.
      for (const { id } of dropped) await store.delete(id);
      await store.put(kept);
    });
  }

  /** One after the other, so that an older state never lands last. */
  #write(work: () => Promise<void>): void {
    this.#writing = this.#writing
      .then(work)
      .then(() => {
        if (this.trouble === '') return;
        this.trouble = '';
        this.#options.onChange();
      })
      .catch((error: unknown) => this.#tell(error));
  }

  /** Resolves when everything so far was written or refused. */
  settled(): Promise<void> {
    return this.#writing;
  }

  #tell(error: unknown): void {
    const trouble = `this browser keeps no history (${sentence(error)}); what you see is gone with this page`;
    if (this.trouble === trouble) return;
    this.trouble = trouble;
    this.#options.onChange();
  }

  #set(runs: readonly KeptRun[]): void {
    this.runs = runs;
    this.#options.onChange();
  }
}

/**
 * Whether there is something to write. A run that has ended stays on the page while others begin or fail: only what
 * it writes on a prompt is new.
 */
function isDue(recording: Recording, phase: PageState['phase'], nowMs: number): boolean {
  const { run, kept, samples, savedAtMs, savedPhase } = recording;
  if (kept.outcome !== 'running') return run.samples !== samples;
  const quiet = phase !== 'training' && phase !== 'stopping' && phase !== 'starting';
  return nowMs - savedAtMs >= SAVE_MS || (quiet && phase !== savedPhase);
}

function settingsOf(config: RunConfig): string {
  return JSON.stringify(formatRunConfig(config));
}

function outcomeOf({ stopped }: RunView, phase: PageState['phase']): Outcome {
  if (phase === 'done') return stopped ? 'stopped' : 'done';
  return phase === 'failed' ? 'failed' : phase === 'idle' ? 'stopped' : 'running';
}

/** Tells one checkpoint from others, in hexadecimal digits: SHA-256; without https that of the hashes of its chunks. */
export async function hashOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  // Typed as always present, but a page from http:// on another host has none.
  const subtle = (globalThis.crypto as Crypto | undefined)?.subtle as SubtleCrypto | undefined;
  if (!subtle) return hashOfList(await chunkHashes(bytes));
  return bytesToHex(new Uint8Array(await subtle.digest('SHA-256', bytes)));
}
