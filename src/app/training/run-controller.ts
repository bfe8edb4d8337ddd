// The life of this page: at most one run at a time, either on virtual devices of this tab (life/local-run.ts) or as one
// rank of a room (life/room-seat.ts). Calls never reject: a button cannot handle an error better than the panel that
// shows it.

import type { Role } from '../../cluster/presence.ts';
import type { Wanted } from '../../cluster/session.ts';
import type { SampleAsk } from '../../train/beside/ask.ts';
import { download } from './checkpoints.ts';
import { isOver, savingOf } from './files/transfers.ts';
import type { Transfer } from './files/transfers.ts';
import type { PageSettings, RoomAddress } from './fragment.ts';
import { trainHere } from './life/local-run.ts';
import { PageLife } from './life/page-life.ts';
import { RankEvents } from './life/rank-events.ts';
import { RoomSeat } from './life/room-seat.ts';
import type { Job, JobContents } from './job.ts';
import type { Reporter } from './reporter.ts';
import type { RoomEntry } from './room/entry.ts';
import type { PageState } from './room/page-state.ts';

export type { PageState, Phase, RoomState } from './room/page-state.ts';

export interface ControllerOptions {
  readonly settings: PageSettings;
  /** Address that jobs are relative to. */
  readonly page: string;
  readonly reporter: Reporter;
  readonly onChange: (state: PageState) => void;
}

export class RunController {
  readonly #address: string;
  readonly #page: PageLife;
  readonly #seat: RoomSeat;
  readonly #events: RankEvents;

  constructor({ settings, page, reporter, onChange }: ControllerOptions) {
    this.#address = page;
    this.#page = new PageLife({
      backend: settings.backend,
      reporter,
      onChange,
      onBegin: () => {
        this.#seat.parts.acts.over();
        this.#seat.parts.keeper.wantFile(false);
      },
      inRoom: () => this.#seat.session !== undefined,
    });
    this.#seat = new RoomSeat(this.#page, {
      settings,
      page,
      reporter,
      onRank: (run, rank, event) => this.#events.take(run, rank, event),
    });
    this.#events = new RankEvents(this.#page, this.#seat, reporter);
  }

  get state(): PageState {
    return this.#page.state;
  }
  get busy(): boolean {
    return this.#page.busy;
  }
  get entry(): RoomEntry {
    return this.#seat.entry;
  }

  /** Trains on as many virtual devices of this tab as the job's layout has ranks. Resolves when the run is over. */
  async trainHere(job: Job, given: JobContents = {}): Promise<void> {
    if (this.busy) return;
    await trainHere(this.#page, this.#address, job, given, (run, rank, event) => this.#events.take(run, rank, event));
  }

  /** Enters a room; a trainer opens its device before. `wanted` is proposed as soon as we are in. */
  join(address: RoomAddress, wanted?: Wanted, role: Role = 'trainer'): Promise<void> {
    return this.#seat.join(address, wanted, role);
  }
  /** Lends this device to the room: a spare, until a group is formed. */
  help(): Promise<void> {
    return this.#seat.help();
  }
  /** Only watches from now on. */
  rest(): void {
    this.#seat.rest();
  }
  renamed(): void {
    this.#seat.renamed();
  }
  /** Asks the room for a run; it begins as soon as the room is free and enough tabs are here. */
  propose(job: Job, given: JobContents = {}): Promise<void> {
    return this.#seat.propose(job, given);
  }
  /** Asks the room to go on with its last run from its last checkpoint. */
  goOn(): Promise<void> {
    return this.#seat.goOn();
  }
  leaveRoom(): Promise<void> {
    return this.#seat.leave();
  }

  /** Pauses all ranks between two steps, for PAUSE_LIMIT_MS at most. */
  pause(): void {
    if (this.state.phase === 'training') this.#seat.parts.acts.want('pause');
  }

  resume(): void {
    if (this.state.phase === 'paused') this.#seat.parts.acts.want('resume');
  }

  /** Ends the run after its step, on all ranks; before the first step: at once. */
  stop(): void {
    const { phase } = this.state;
    if (phase === 'training' || phase === 'paused') return this.#seat.parts.acts.want('stop');
    if (phase !== 'starting') return;
    const { me } = this.#seat.session ?? {};
    if (me?.run) return this.#seat.session!.giveUp(`${me.name} stopped it before the first step`);
    this.#seat.parts.resume.declined();
    if (me?.wants) return this.#seat.session!.withdraw();
    this.#page.abort();
    if (this.#seat.session || this.state.room) {
      void this.leaveRoom();
      return;
    }
    this.#page.hosts.close();
    this.#page.change({ phase: 'idle', status: 'stopped before the first step' });
  }

  /** Saves a checkpoint as a file: now, or the last one of a run that is over. */
  save(): void {
    const { phase, checkpoint, stays, run } = this.state;
    if (phase === 'training' || phase === 'paused' || (stays && checkpoint?.step !== run?.step))
      this.#seat.parts.acts.want('save');
    else if (checkpoint) this.saveFile(checkpoint.bytes, `tabmesh-step-${checkpoint.step}.safetensors`);
  }

  /** Offers the bytes as a file of this machine, and says so. */
  saveFile(bytes: Uint8Array<ArrayBuffer> | Blob, name: string): void {
    download(bytes, name);
    this.#page.moved(savingOf(name, bytes instanceof Blob ? bytes.size : bytes.byteLength));
  }

  /** Ends a transfer, and the run that needs the file; one that is over is not shown any more. */
  endTransfer(transfer: Transfer): void {
    if (transfer.way === 'save') this.#seat.parts.keeper.wantFile(false);
    else if (!isOver(transfer) && this.busy) return this.stop();
    this.#page.closeTransfer(transfer.key);
  }

  /** Asks the connection doctor anew. */
  examine(): void {
    void this.#seat.session?.examine();
  }

  /** The person's answer to `state.question`. */
  answer(agreed: boolean): void {
    if (this.state.question !== undefined) this.#seat.parts.files.answer(agreed);
  }

  /** Lets the model write; while it trains, after the step. */
  sample(ask?: SampleAsk): void {
    if (this.state.run && (this.busy || this.state.stays)) this.#seat.parts.acts.want('sample', ask);
  }

  problem(text: string): void {
    this.#page.problem(text);
  }
  forget(text: string): void {
    this.#page.forget(text);
  }

  /** The page goes away: the peers should hear it from us and not by silence. */
  leave(): void {
    for (const host of this.#page.hosts.all) host.leave().catch(() => undefined);
    void this.#seat.session?.close();
  }
}
