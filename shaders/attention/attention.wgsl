// FlashAttention-2 forward: ROWS queries of one head per thread against tiles of KEYS keys. s is a register tile, D and
// DV are rolled loops, so code and registers do not grow with the head size; the unscaled output lives in `out` between
// key tiles and is divided by l at the end. Keys after the last visible one are never visited. Rows past TQ repeat row
// TQ - 1 (same values, same place), so nothing branches: `&&`, `||` and `if` in unrolled code make some compilers
// exponentially slow. Any sizes and strides. Threads: heads fastest (neighbours do equal causal work). Source: Dao
// 2023, arXiv 2307.08691, algorithm 1.

const B: u32 = 1u;
const HQ: u32 = 1u;
const HKV: u32 = 1u;
const TQ: u32 = 1u;
const TK: u32 = 1u;
const D: u32 = 4u;
const DV: u32 = 4u;
const SCALE: f32 = 1.0;
const CAUSAL: u32 = 0u;
const Q_START: u32 = 0u;
const K_START: u32 = 0u;
const Q_OFF: u32 = 0u;
const Q_B: u32 = 4u;
const Q_H: u32 = 4u;
const Q_T: u32 = 4u;
const K_OFF: u32 = 0u;
const K_B: u32 = 4u;
const K_H: u32 = 4u;
const K_T: u32 = 4u;
const V_OFF: u32 = 0u;
const V_B: u32 = 4u;
const V_H: u32 = 4u;
const V_T: u32 = 4u;
const O_OFF: u32 = 0u;
const O_B: u32 = 4u;
const O_H: u32 = 4u;
const O_T: u32 = 4u;
const ROWS: u32 = 4u;
const KEYS: u32 = 4u;
const WG: u32 = 16u;
const BLOCKS: u32 = (TQ + ROWS - 1u) / ROWS;
// 1 where some query of a block does not see all keys of a tile.
const MASKED: u32 = 1u;
const NONE: f32 = -1e30;

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  // Long and short workgroups in turn: some drivers give each core one run of them.
  let turn = group.y * groups.x + group.x;
  let id = select(turn / 2u, groups.x * groups.y - 1u - turn / 2u, turn % 2u == 1u) * WG + lane;
  if (id >= BLOCKS * B * HQ) { return; }
  let bh = id % (B * HQ);
  let first = (BLOCKS - 1u - id / (B * HQ)) * ROWS;
  let b = bh / HQ;
  let h = bh % HQ;
  let hkv = h * HKV / HQ;
  let qHead = Q_OFF + b * Q_B + h * Q_H;
  let kHead = K_OFF + b * K_B + hkv * K_H;
  let vHead = V_OFF + b * V_B + hkv * V_H;
  let oHead = O_OFF + b * O_B + h * O_H;
  var end = TK;
  if (CAUSAL == 1u) { end = clamp(max(min(first + ROWS, TQ) + Q_START, K_START) - K_START, 1u, TK); }

  var qRow: array<u32, ROWS>; // registers
  var oRow: array<u32, ROWS>; // registers
  var last: array<u32, ROWS>; // registers
  var m: array<f32, ROWS>; // registers
  var l: array<f32, ROWS>; // registers
  for (var ri = 0u; ri < ROWS; ri++) { // unroll
    let row = min(first + ri, TQ - 1u);
    qRow[ri] = qHead + row * Q_T;
    oRow[ri] = oHead + row * O_T;
    last[ri] = row + Q_START;
    m[ri] = NONE;
    l[ri] = 0.0;
  }
  for (var j = 0u; j < end; j += KEYS) {
    var kRow: array<u32, KEYS>; // registers
    var vRow: array<u32, KEYS>; // registers
    var s: array<f32, ROWS * KEYS>; // registers
    for (var ci = 0u; ci < KEYS; ci++) { // unroll
      let key = min(j + ci, TK - 1u);
      kRow[ci] = kHead + key * K_T;
      vRow[ci] = vHead + key * V_T;
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        s[ri * KEYS + ci] = 0.0;
      }
    }
    for (var d = 0u; d < D; d++) {
      var qd: array<f32, ROWS>; // registers
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        qd[ri] = q[qRow[ri] + d];
      }
      for (var ci = 0u; ci < KEYS; ci++) { // unroll
        let kd = k[kRow[ci] + d];
        for (var ri = 0u; ri < ROWS; ri++) { // unroll
          s[ri * KEYS + ci] += qd[ri] * kd;
        }
      }
    }
    var shrink: array<f32, ROWS>; // registers
    for (var ri = 0u; ri < ROWS; ri++) { // unroll
      var top = m[ri];
      for (var ci = 0u; ci < KEYS; ci++) { // unroll
        let key = j + ci;
        let hidden = (MASKED == 1u) & ((key >= TK) | ((CAUSAL == 1u) & (key + K_START > last[ri])));
        s[ri * KEYS + ci] = select(s[ri * KEYS + ci] * SCALE, NONE, hidden);
        top = max(top, s[ri * KEYS + ci]);
      }
      shrink[ri] = exp(max(m[ri] - top, -100.0));
      m[ri] = top;
      l[ri] *= shrink[ri];
      // A row that has seen no key yet has top = NONE: the floor keeps its exp at 0 instead of exp(NONE - NONE) = 1.
      let base = max(top, 0.1 * NONE);
      for (var ci = 0u; ci < KEYS; ci++) { // unroll
        let x = s[ri * KEYS + ci] - base;
        s[ri * KEYS + ci] = select(exp(x), 0.0, x < -100.0);
        l[ri] += s[ri * KEYS + ci];
      }
    }
    for (var d = 0u; d < DV; d++) {
      var acc: array<f32, ROWS>; // registers
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        acc[ri] = select(out[oRow[ri] + d] * shrink[ri], 0.0, j == 0u);
      }
      for (var ci = 0u; ci < KEYS; ci++) { // unroll
        let vd = v[vRow[ci] + d];
        for (var ri = 0u; ri < ROWS; ri++) { // unroll
          acc[ri] += s[ri * KEYS + ci] * vd;
        }
      }
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        out[oRow[ri] + d] = acc[ri];
      }
    }
  }
  for (var ri = 0u; ri < ROWS; ri++) { // unroll
    let sum = max(l[ri], 1e-30);
    lse[bh * TQ + last[ri] - Q_START] = select(m[ri] + log(sum), NONE, l[ri] == 0.0);
    l[ri] = 1.0 / sum;
  }
  for (var d = 0u; d < DV; d++) {
    var acc: array<f32, ROWS>; // registers
    for (var ri = 0u; ri < ROWS; ri++) { // unroll
      acc[ri] = out[oRow[ri] + d] * l[ri];
    }
    for (var ri = 0u; ri < ROWS; ri++) { // unroll
      out[oRow[ri] + d] = acc[ri];
    }
  }
}
