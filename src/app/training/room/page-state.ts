// What the page is doing, as its elements draw it.

import { OPEN_RULES } from '../../../cluster/room/laws.ts';
import type { Right, Rules } from '../../../cluster/room/laws.ts';
import type { Presence } from '../../../cluster/presence.ts';
import type { ConnectionView } from '../connections.ts';
import type { Transfer } from '../files/transfers.ts';
import type { RoomAddress } from '../fragment.ts';
import type { RunView } from '../run-view.ts';

/** 'starting': opens, loads, waits for tabs, connects. 'idle', 'done' and 'failed': a run may begin. */
export type Phase = 'idle' | 'starting' | 'training' | 'paused' | 'stopping' | 'done' | 'failed';

export interface RoomState {
  readonly address: RoomAddress;
  readonly joined: boolean;
  readonly members: readonly Presence[];
  readonly me: Presence | undefined;
  readonly carrier: string;
  readonly rules: Rules;
  /** What this tab may. */
  readonly may: Readonly<Record<Right, boolean>>;
  /** What stays true while we are here: others with another key or version, what this browser lacks. */
  readonly notices: readonly string[];
}

/** The room of this address, before it is joined. */
export function roomAt(address: RoomAddress): RoomState {
  return {
    address,
    joined: false,
    members: [],
    me: undefined,
    carrier: '',
    rules: OPEN_RULES,
    may: { propose: true, act: true, remove: false },
    notices: [],
  };
}

export interface PageState {
  readonly phase: Phase;
  readonly status: string;
  readonly problems: readonly string[];
  /** Our own run, or the one that we watch. */
  readonly run: RunView | undefined;
  /** The devices of the run that is over are still here: its model writes and can be saved. */
  readonly stays: boolean;
  /** Who trains the run that we watch, by rank; undefined: we watch none. */
  readonly watching: readonly Presence[] | undefined;
  readonly room: RoomState | undefined;
  /** What the connection doctor said last of each link of the current or the last group; empty outside of rooms. */
  readonly connections: readonly ConnectionView[];
  /** What the person must answer before the run goes on. */
  readonly question: string | undefined;
  /** The room may go on with its last run from this step. */
  readonly goOn: number | undefined;
  /** Files on their way to or from this tab, and those of the last run that have come. */
  readonly transfers: readonly Transfer[];
  /** The last checkpoint of this page's rank 0, or its copy of another tab's. */
  readonly checkpoint: { readonly step: number; readonly bytes: Uint8Array<ArrayBuffer> } | undefined;
}

export const EMPTY_STATE: PageState = {
  phase: 'idle',
  status: '',
  problems: [],
  run: undefined,
  stays: false,
  watching: undefined,
  room: undefined,
  connections: [],
  question: undefined,
  goOn: undefined,
  transfers: [],
  checkpoint: undefined,
};

/**
 * A question is of a run that trains or pauses: when that ends, in whatever way, nobody waits for the answer any more.
 */
export function changed(state: PageState, change: Partial<PageState>): PageState {
  const asks = change.phase === undefined || change.phase === 'training' || change.phase === 'paused';
  return { ...state, ...change, ...(asks ? {} : { question: undefined }) };
}

/** Whether two states differ in more than numbers of one run and of the same files on their way. */
export function differsInMore(a: PageState, b: PageState): boolean {
  const { transfers: moving, ...rest } = a;
  if (moving.length !== b.transfers.length) return true;
  return Object.entries(rest).some(([name, value]) => value !== b[name as keyof PageState]);
}
