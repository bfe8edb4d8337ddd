// What a page and a rank in a worker say to each other. Calls go through comlink (control); events come back over a
// port as one discriminated union; tensors travel on data channels or ports that were transferred to the worker.

import type { Progress } from '../src/cluster/files/exchange.ts';
import type { SharedFile } from '../src/cluster/files/shared-file.ts';
import type { AdapterInfo } from '../src/device/device.ts';
import type { Evidence } from '../src/base/errors.ts';
import type { FlightDump } from '../src/collectives/record/flight-recorder.ts';
import type { LaneHandle } from './lane-handle.ts';
import type { LinkReport as LinkFacts } from '../src/transport/transport.ts';
import type { RunEvent } from '../src/train/run.ts';
import type { RunFiles } from '../src/train/prepare.ts';
import type { Wish } from './wish-desk.ts';

export type Backend = 'webgpu' | 'wasm' | 'cpu';

/** The words of `#backend=`; `auto` chooses among the first two. */
export const BACKENDS = ['auto', 'webgpu', 'wasm', 'cpu'] as const satisfies readonly (Backend | 'auto')[];
export type BackendSetting = (typeof BACKENDS)[number];

/** What a worker must know before it meets its peers. */
export interface RankPreparation {
  /** RunConfig in the form of formatRunConfig. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly files: RunFiles;
  readonly checkpoint?: Uint8Array<ArrayBuffer>;
  /**
   * Files that lie on some tabs of the group alone; the run is prepared when they are here, after its links have begun.
   */
  readonly shared?: SharedFiles;
}

export interface SharedFiles {
  readonly files: readonly (SharedFile & { readonly field: keyof RunFiles })[];
  /** What this tab has of them, by hash. */
  readonly held: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  /** Names of the ranks' tabs. */
  readonly names: readonly string[];
}

export interface RankSetup {
  readonly rank: number;
  readonly run: number;
  readonly view: number;
  /** How the packets to each rank travel, as far as the page knows: 'host', 'srflx', 'prflx', 'relay'. */
  readonly paths?: Readonly<Record<number, string>>;
  readonly wantGradients: boolean;
  readonly wantModel: boolean;
  readonly sampleTokens?: number;
  /** After the run it stays, to write and to be saved, until the worker is ended. */
  readonly stays?: boolean;
  /** See RunOptions.copies. */
  readonly copies?: boolean;
}

export interface DeviceReport {
  readonly adapter: AdapterInfo;
  readonly kind: Backend;
}

export interface LinkReport extends LinkFacts {
  /** Payload bytes. */ readonly sent: number;
  readonly received: number;
}

/**
 * Everything a worker tells. `failed` is the last event of a run that did not end by itself; `flight` has the rank's
 * last operations.
 */
export type RankEvent =
  | RunEvent
  /** How far a file is that comes or goes over the mesh. */
  | ({ readonly kind: 'progress' } & Progress)
  /** It has come whole, and is what the job says. */
  | { readonly kind: 'file'; readonly file: SharedFile; readonly content: Uint8Array<ArrayBuffer> }
  /** May this tab download so many bytes? `answer` says it. */
  | { readonly kind: 'download'; readonly files: readonly string[]; readonly total: number }
  | { readonly kind: 'links'; readonly links: readonly LinkReport[] }
  | {
      readonly kind: 'failed';
      readonly name: string;
      readonly message: string;
      readonly culprit?: number;
      readonly evidence?: Evidence;
      readonly flight?: FlightDump;
    };

/** Posted to a worker: it hosts one rank more, whose RankApi is at the other end of the port. */
export interface NewRank {
  readonly rank: MessagePort;
}

/** Exposed for each rank through comlink. */
export interface RankApi {
  /**
   * Opens the device. Rejects with what to do when there is none. `ranksHere`: ranks of this tab that compute side by
   * side and share the cores, 1 by default.
   */
  open(backend: Backend, ranksHere?: number): Promise<DeviceReport>;
  /**
   * Checks config and files and builds data, tokenizer and weights; heavy work that must not fall between heartbeats.
   * Rejects with InternalError while a run goes on; its lanes and peers are forgotten.
   */
  prepare(preparation: RankPreparation): Promise<void>;
  /** Takes what another rank of the same worker was prepared with. */
  prepareAlike(): void;
  /**
   * Takes the lanes to one peer, replacing earlier ones; resolves when all are open. A handle that is no bulk lane of
   * its own serves as both.
   */
  adopt(peer: number, control: LaneHandle, bulk?: LaneHandle, latency?: LaneHandle): Promise<void>;
  /** The tab of an adopted peer holds this lock as long as it lives. */
  watch(peer: number, lock: string): void;
  /** This is the hash of the last checkpoint that the rank has told of, that of step `step`. */
  identify(step: number, hash: string): void;
  /** A peer did what no sound one does, in a sentence: what runs with it ends, and names it. */
  accuse(peer: number, what: string): void;
  /**
   * Runs to the end over the adopted lanes; events go to `events`. Resolves after the last event, to whether this rank
   * can serve another run, which may be prepared then: not where it may be to blame for how this one ended. The next
   * after one that was stopped, that another rank has broken off, or whose files did not come, goes on with device,
   * plans, buffers, and with the weights where they are those of its checkpoint; see RankRuntime.
   */
  start(setup: RankSetup, events: MessagePort): Promise<boolean>;
  pause(): void;
  resume(): void;
  request(wish: Wish): void;
  /** What the person at this tab says to an event `download`. */
  answer(agreed: boolean): void;
  /** Says goodbye to all peers and frees the device. */
  leave(): void;
}
