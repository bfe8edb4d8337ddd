// Gradient of the row losses by the logits, in place of logits [R, COLS], the vocabulary's columns COL_START...:
// (softmax - (1 - SMOOTHING) onehot(target) - SMOOTHING / VOCAB) SCALE rowScale[r], softmax = exp(logit - rowMax) /
// rowSum, both joined over all shards. It takes these two instead of lse because an lse near 5000 has lost the digits
// that softmax needs. Zeros for ignored rows (target -100) and for columns at or beyond VOCAB. Memory bound: 8 bytes
// per logit.

import { linearGrid } from '../../src/device/grid.ts';
import { defineKernel } from '../../src/device/kernel.ts';
import vec4Source from './ce-grad-vec4.wgsl?raw';
import source from './ce-grad.wgsl?raw';

export const ceGrad = defineKernel({
  name: 'ceGrad',
  bindings: { logits: 'read_write', rowMax: 'read', rowSum: 'read', targets: 'read i32', rowScale: 'read' },
  params: {
    R: 'rows',
    COLS: 'columns of this shard',
    COL_START: 'its first column in the vocabulary',
    VOCAB: 'columns at or beyond it are padding',
    SMOOTHING: 'label smoothing, 0 to 1',
    SCALE: 'factor of all',
    HAS_ROW_SCALE: '1 multiplies by rowScale[r], 0 leaves rowScale unread',
  },
  dynamic: { R: 'u32', COL_START: 'u32' },
  variants: [
    {
      name: 'vec4',
      source: vec4Source,
      tune: { WG: [64] },
      supports: ({ COLS }) => COLS % 4 === 0,
      grid: ({ R, COLS }, { WG }) => linearGrid(R * Math.ceil(COLS / 16), WG),
    },
    {
      name: 'scalar',
      source,
      tune: { WG: [64] },
      grid: ({ R, COLS }, { WG }) => linearGrid(R * Math.ceil(COLS / 16), WG),
    },
  ],
  cost: ({ R, COLS }) => ({ flops: 6 * R * COLS, bytes: 8 * R * COLS }),
  reference(
    { logits, rowMax, rowSum, targets, rowScale },
    { R, COLS, COL_START, VOCAB, SMOOTHING, SCALE, HAS_ROW_SCALE },
  ) {
    for (let r = 0; r < R; r++) {
      const scale = SCALE * (HAS_ROW_SCALE ? rowScale[r] : 1);
      for (let c = 0; c < COLS; c++) {
        const at = r * COLS + c;
        const token = COL_START + c;
        const onehot = token === targets[r] ? 1 - SMOOTHING : 0;
        const ignored = targets[r] === -100 || token >= VOCAB;
        logits[at] = ignored ? 0 : (Math.exp(logits[at] - rowMax[r]) / rowSum[r] - onehot - SMOOTHING / VOCAB) * scale;
      }
    }
  },
  sizes: ({ R, COLS, HAS_ROW_SCALE }) => ({
    logits: R * COLS,
    rowMax: R,
    rowSum: R,
    targets: R,
    rowScale: HAS_ROW_SCALE ? R : 1,
  }),
  cases: [
    { R: 1, COLS: 1, COL_START: 0, VOCAB: 1, SMOOTHING: 0, SCALE: 1, HAS_ROW_SCALE: 0 },
    { R: 65, COLS: 63, COL_START: 63, VOCAB: 120, SMOOTHING: 0.1, SCALE: 0.25, HAS_ROW_SCALE: 1 },
    { R: 33, COLS: 100, COL_START: 100, VOCAB: 175, SMOOTHING: 0, SCALE: 0.5, HAS_ROW_SCALE: 1 },
    { R: 3, COLS: 1000, COL_START: 0, VOCAB: 1000, SMOOTHING: 0.1, SCALE: 1, HAS_ROW_SCALE: 0 },
    { R: 3, COLS: 8, COL_START: 24, VOCAB: 20, SMOOTHING: 0, SCALE: 1, HAS_ROW_SCALE: 0 },
  ],
  testInput(name, { R, COLS, VOCAB }, random) {
    if (name === 'targets')
      return Int32Array.from({ length: R }, (_, i) => (i % 5 === 4 ? -100 : Math.floor(random() * VOCAB)));
    if (name === 'logits') return Float32Array.from({ length: R * COLS }, () => 5000 + 20 * random() - 10);
    if (name === 'rowMax') return Float32Array.from({ length: R }, () => 5010 + random());
    if (name === 'rowSum') return Float32Array.from({ length: R }, () => 1 + random());
    return undefined;
  },
});
