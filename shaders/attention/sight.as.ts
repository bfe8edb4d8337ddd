// Which scores count: those of keys that a query sees, by position (attention.ts) or by intervals of columns
// (attention-intervals.ts). The lanes of a panel are queries and the rows of a block keys, or the other way round; see
// panels.as.ts. Most pairs of panel and block are all seen or not at all, and are known as such before any score is
// computed.

import { LANES, STEP } from './panels.as.ts';
import { NONE } from './weights.as.ts';

/** The part of the block that some lane sees, set by seeKeys and seeQueries: rows [seenFrom, seenTo). */
export let seenFrom: i32 = 0;
export let seenTo: i32 = 0;

let causal: boolean = false;
/** Query i sees key j if j <= i + shift. */
let shift: i32 = 0;
/** First and last column of the queries, and columns of the keys; 0 if positions decide. */
let bounds: usize = 0;
let columns: usize = 0;
let queryCount: i32 = 0;
let keyCount: i32 = 0;

/** The panel and the block of the last call. */
let lanesAreKeys: boolean = false;
let someHidden: boolean = false;
/** Of row 0, the first lane that is a key it does not see, or the first that is a query that sees it. */
let edge: i32 = 0;
/** Of the rows of the block: their columns, or their bounds. */
let walked: usize = 0;
/** 64 bytes with columns, or first and last columns, of the lanes. */
let lanes: usize = 0;

/** The rows whose range is known: of a block, it is found once. */
let known: usize = 0;
let leastColumn: u32 = 0;
let mostColumn: u32 = 0;
let leastFirst: u32 = 0;
let mostFirst: u32 = 0;
let leastLast: u32 = 0;
let mostLast: u32 = 0;

/** Keys are hidden by position, or none. */
export function seeByPosition(CAUSAL: i32, Q_START: i32, K_START: i32): void {
  causal = CAUSAL !== 0;
  shift = Q_START - K_START;
  bounds = 0;
}

/** Keys are hidden by intervals; 64 bytes at `room` are used. */
export function seeByIntervals(intervals: usize, room: usize, B: i32, TQ: i32, TK: i32): void {
  causal = false;
  bounds = intervals;
  columns = intervals + ((<usize>B * TQ) << 3);
  queryCount = TQ;
  keyCount = TK;
  lanes = room;
  known = 0;
}

/** How many of `keys` keys, from the first, a query at `query` sees; -1 if that is not all there is to say. */
export function keysSeen(query: i32, keys: i32): i32 {
  if (bounds) return -1;
  return causal ? max(0, min(keys, query + shift + 1)) : keys;
}

/** Keys [key, key + keys) of batch b, seen by a panel of `count` queries from `query` on. */
export function seeKeys(b: i32, query: i32, count: i32, key: i32, keys: i32): void {
  lanesAreKeys = false;
  seenFrom = 0;
  seenTo = keys;
  edge = key - query - shift;
  someHidden = causal && edge + keys > 1;
  if (causal) seenTo = min(keys, max(0, count - edge));
  if (!bounds) return;
  const own = bounds + ((<usize>b * queryCount + query) << 3);
  walked = columns + ((<usize>b * keyCount + key) << 2);
  for (let lane = 0; lane < LANES; lane++) {
    const from = own + ((<usize>min(lane, count - 1)) << 3);
    store<u32>(lanes + ((<usize>lane) << 2), load<u32>(from));
    store<u32>(lanes + ((<usize>lane) << 2), load<u32>(from, 4), 32);
  }
  if (known !== walked) rangeOfColumns(walked, keys);
  known = walked;
  rangeOfBounds(own, count);
  seeSome(keys);
}

/** Queries [query, query + queries) of batch b that see a panel of `count` keys from `key` on. */
export function seeQueries(b: i32, key: i32, count: i32, query: i32, queries: i32): void {
  lanesAreKeys = true;
  seenTo = queries;
  edge = query + shift - key + 1;
  someHidden = causal && edge < count;
  seenFrom = causal ? min(queries, max(0, 1 - edge)) : 0;
  if (!bounds) return;
  const own = columns + ((<usize>b * keyCount + key) << 2);
  walked = bounds + ((<usize>b * queryCount + query) << 3);
  for (let lane = 0; lane < LANES; lane++)
    store<u32>(lanes + ((<usize>lane) << 2), load<u32>(own + ((<usize>min(lane, count - 1)) << 2)));
  rangeOfColumns(own, count);
  if (known !== walked) rangeOfBounds(walked, queries);
  known = walked;
  seeSome(queries);
}

function rangeOfColumns(at: usize, count: i32): void {
  leastColumn = u32.MAX_VALUE;
  mostColumn = 0;
  for (let i = 0; i < count; i++) {
    const column = load<u32>(at + ((<usize>i) << 2));
    leastColumn = min(leastColumn, column);
    mostColumn = max(mostColumn, column);
  }
}

function rangeOfBounds(at: usize, count: i32): void {
  leastFirst = u32.MAX_VALUE;
  mostFirst = 0;
  leastLast = u32.MAX_VALUE;
  mostLast = 0;
  for (let i = 0; i < count; i++) {
    const first = load<u32>(at + ((<usize>i) << 3));
    const last = load<u32>(at + ((<usize>i) << 3), 4);
    leastFirst = min(leastFirst, first);
    mostFirst = max(mostFirst, first);
    leastLast = min(leastLast, last);
    mostLast = max(mostLast, last);
  }
}

/** Narrows `rows` rows to those of which some lane is seen. */
function seeSome(rows: i32): void {
  someHidden = leastColumn < mostFirst || mostColumn > leastLast;
  if (mostColumn < leastFirst || leastColumn > mostLast) seenTo = 0;
  if (!someHidden || seenTo === 0) return;
  while (seenFrom < rows && allHidden(seenFrom)) seenFrom++;
  while (seenTo > seenFrom && allHidden(seenTo - 1)) seenTo--;
}

function allHidden(row: i32): boolean {
  return i32x4.all_true(v128.and(hidden(row, 0), hidden(row, 16))) !== 0;
}

/** By intervals: ones in the lanes, of the half at byte `half`, that row `row` of the block does not count for. */
function hidden(row: i32, half: usize): v128 {
  if (lanesAreKeys) {
    const column = v128.load(lanes + half);
    const at = walked + ((<usize>row) << 3);
    return outside(column, v128.load_splat<u32>(at), v128.load_splat<u32>(at, 4));
  }
  const column = v128.load_splat<u32>(walked + ((<usize>row) << 2));
  return outside(column, v128.load(lanes + half), v128.load(lanes + half, 32));
}

function outside(column: v128, first: v128, last: v128): v128 {
  return v128.or(i32x4.lt_u(column, first), i32x4.gt_u(column, last));
}

/** Scores [seenTo - seenFrom, 8] of the last panel and block: NONE where a key is not seen. */
export function hide(scores: usize): void {
  if (!someHidden) return;
  if (!bounds) {
    hideByPosition(scores);
    return;
  }
  for (let row = seenFrom; row < seenTo; row++) {
    replace(scores, hidden(row, 0));
    replace(scores + 16, hidden(row, 16));
    scores += STEP;
  }
}

function hideByPosition(scores: usize): void {
  const low = i32x4(0, 1, 2, 3);
  const high = i32x4(4, 5, 6, 7);
  const last = lanesAreKeys ? min(seenTo, LANES - edge) : seenTo;
  for (let row = lanesAreKeys ? seenFrom : max(0, 1 - edge); row < last; row++) {
    const at = scores + <usize>(row - seenFrom) * STEP;
    const lane = i32x4.splat(edge + row);
    replace(at, lanesAreKeys ? i32x4.ge_s(low, lane) : i32x4.lt_s(low, lane));
    replace(at + 16, lanesAreKeys ? i32x4.ge_s(high, lane) : i32x4.lt_s(high, lane));
  }
}

function replace(at: usize, hidden: v128): void {
  v128.store(at, v128.bitselect(f32x4.splat(NONE), v128.load(at), hidden));
}
