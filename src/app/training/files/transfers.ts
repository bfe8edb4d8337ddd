// Files on their way to this tab, from it, or into a file of this machine, as the page shows them: name, size, how far,
// how fast, and with whom. Pure.

import { formatBytes } from '../../../base/format-bytes.ts';

/** News of one file. The same key is the same transfer. */
export interface Moved {
  readonly key: string;
  readonly name: string;
  /** It comes to this tab, goes to others, or is written for the person. */
  readonly way: 'in' | 'out' | 'save';
  /** Bytes, of `whole`; `whole` is undefined while the size is not known. */
  readonly moved: number;
  readonly whole: number | undefined;
  /** Who sends or gets it, for people: 'from Chrome 3f2 (rank 0)'. */
  readonly who: string;
}

export interface Transfer extends Moved {
  readonly beganAtMs: number;
  readonly atMs: number;
}

/** A run has eight files at most. */
const MOST = 12;
/** In a shorter time than this a rate says nothing. */
const SHORTEST_MS = 50;

/** The list with this news in it. */
export function withMoved(list: readonly Transfer[], news: Moved, nowMs: number): readonly Transfer[] {
  const before = list.find(({ key }) => key === news.key);
  // What is sent once more begins anew.
  const beganAtMs = before && !isOver(before) && before.moved <= news.moved ? before.beganAtMs : nowMs;
  const transfer: Transfer = { ...news, beganAtMs, atMs: nowMs };
  return before ? list.map((one) => (one === before ? transfer : one)) : [...list, transfer].slice(-MOST);
}

export function isOver({ moved, whole }: Moved): boolean {
  return moved === whole;
}

/**
 * Which are shown: all that are on their way, and those that are over until the run that needed them trains; what was
 * written for the person stays until it is closed.
 */
export function shownOf(list: readonly Transfer[], trains: boolean): readonly Transfer[] {
  return list.filter((transfer) => !trains || transfer.way === 'save' || !isOver(transfer));
}

/** 'receiving', 'sent', 'saving'. `goesOn`: the run that it is for has not ended. */
export function deedOf(news: Moved, goesOn: boolean): string {
  const { way } = news;
  const over = isOver(news);
  if (!over && !goesOn) return way === 'save' ? 'not written, the run ended:' : 'broken off:';
  return { in: ['receiving', 'received'], out: ['sending', 'sent'], save: ['saving', 'saved'] }[way][over ? 1 : 0]!;
}

/** '3.0 MB of 12 MB, 4.1 MB/s, 2 s left'; after the end '12 MB in 3.1 s, 3.9 MB/s'. */
export function amountOf(transfer: Transfer): string {
  const { moved, whole, beganAtMs, atMs, way } = transfer;
  const ms = atMs - beganAtMs;
  const over = isOver(transfer);
  const perSecond = ms >= SHORTEST_MS && moved > 0 && way !== 'save' ? (1000 * moved) / ms : undefined;
  const size =
    whole === undefined
      ? moved > 0
        ? formatBytes(moved)
        : 'size not known yet'
      : over
        ? formatBytes(whole)
        : `${formatBytes(moved)} of ${formatBytes(whole)}`;
  if (perSecond === undefined) return size;
  const rate = `${formatBytes(Math.round(perSecond))}/s`;
  if (over) return `${size} in ${(ms / 1000).toFixed(1)} s, ${rate}`;
  return whole === undefined
    ? `${size}, ${rate}`
    : `${size}, ${rate}, ${Math.ceil((whole - moved) / perSecond)} s left`;
}

/** Of a file that the page's own server sends. `total` is undefined where the server does not say it. */
export function loadingOf(name: string, loaded: number, total: number | undefined): Moved {
  return { key: `server ${name}`, name, way: 'in', moved: loaded, whole: total, who: 'from this page’s server' };
}

/** Of a file that this page writes: without a size, it is asked for. */
export function savingOf(name: string, bytes?: number): Moved {
  return {
    key: 'save',
    name,
    way: 'save',
    moved: bytes ?? 0,
    whole: bytes,
    who: bytes === undefined ? 'gathered from all ranks after this step' : 'to the downloads of this browser',
  };
}
