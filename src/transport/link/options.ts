// What a link is made with, and what holds where nothing was said.

import { ConfigError } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import { FRAME_BYTES } from '../frame.ts';
import type { Lanes } from '../transport.ts';
import { minimumWindow } from '../tune-link.ts';

export interface LinkOptions {
  readonly lanes: Lanes;
  /** World ranks of the two ends. */
  readonly peer: number;
  readonly self: number;
  /** Identity of the run and number of the membership view; frames of others are dropped. */
  readonly run: number;
  readonly view: number;
  readonly world: World;
  /** Silence after which the peer counts as dead. */
  readonly silentMs?: number;
  readonly heartbeatMs?: number;
  /**
   * Most bytes handed to the wire and not yet sent, unless the tuner finds better; 256 KiB was fastest on data
   * channels.
   */
  readonly windowBytes?: number;
  /**
   * Longest that the tuner may take before the first data, for both directions; the shorter of both ends' counts, 0
   * (the default) turns it off.
   */
  readonly tuneMs?: number;
  /**
   * Kind of the ICE candidate that the packets take, if somebody knows it or will: host, srflx, prflx or relay. For the
   * report.
   */
  readonly path?: string | (() => string | undefined);
  /** Longest wait of one receive from a peer that still gives signs of life; unlimited by default. */
  readonly deadlineMs?: number;
  /**
   * Rank that this rank waits for over any of its links; told in heartbeats, so that a deadline names the rank that
   * holds up the others and not a fellow victim.
   */
  readonly waitsFor?: () => number | undefined;
  /** From the rank whose message is overdue to the one at fault, by what heartbeats told. */
  readonly blame?: (peer: number) => number;
  /** How many ranks there are, if it is known: a peer that speaks of others breaks the rules. */
  readonly worldSize?: number;
}

export type LinkSettings = Omit<Required<LinkOptions>, 'path'> & { readonly path: () => string | undefined };

/** Throws ConfigError for a window that never drains. */
export function settingsOf(options: LinkOptions): LinkSettings {
  const { windowBytes = 256 * 1024, tuneMs = 0, path } = options;
  const minimum = minimumWindow(FRAME_BYTES);
  if (windowBytes < minimum)
    throw new ConfigError(
      'windowBytes',
      `expected at least ${minimum}, got ${windowBytes}; a smaller window never drains`,
    );
  const { lanes, peer, self, run, view, world } = options;
  return {
    lanes,
    peer,
    self,
    run,
    view,
    world,
    windowBytes,
    silentMs: options.silentMs ?? 6000,
    heartbeatMs: options.heartbeatMs ?? 1000,
    deadlineMs: options.deadlineMs ?? Infinity,
    tuneMs: Math.max(0, Math.min(60_000, Math.floor(tuneMs))),
    path: typeof path === 'function' ? path : () => path,
    waitsFor: options.waitsFor ?? (() => undefined),
    blame: options.blame ?? ((waited) => waited),
    worldSize: options.worldSize ?? Infinity,
  };
}
