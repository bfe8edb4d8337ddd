// Attention whose mask is given by intervals (see the .ts file): ROWS queries of one head per thread against tiles
// of KEYS keys, as in attention.wgsl, whose comments say how the tile works. A key is seen if its column lies in the
// query's interval. Source: Dao 2023, arXiv 2307.08691, algorithm 1.

const B: u32 = 1u;
const HQ: u32 = 1u;
const HKV: u32 = 1u;
const TQ: u32 = 1u;
const TK: u32 = 1u;
const D: u32 = 4u;
const DV: u32 = 4u;
const SCALE: f32 = 1.0;
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
const NONE: f32 = -1e30;
const NOWHERE: u32 = 0xffffffffu;

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> intervals: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;

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

  var qRow: array<u32, ROWS>; // registers
  var oRow: array<u32, ROWS>; // registers
  var lower: array<u32, ROWS>; // registers
  var upper: array<u32, ROWS>; // registers
  var lowest = NOWHERE;
  var highest = 0u;
  var fresh = true;
  var m: array<f32, ROWS>; // registers
  var l: array<f32, ROWS>; // registers
  for (var ri = 0u; ri < ROWS; ri++) { // unroll
    let row = min(first + ri, TQ - 1u);
    qRow[ri] = qHead + row * Q_T;
    oRow[ri] = oHead + row * O_T;
    lower[ri] = intervals[2u * (b * TQ + row)];
    upper[ri] = intervals[2u * (b * TQ + row) + 1u];
    lowest = min(lowest, lower[ri]);
    highest = max(highest, upper[ri]);
    m[ri] = NONE;
    l[ri] = 0.0;
  }
  for (var j = 0u; j < TK; j += KEYS) {
    // Tiles of keys that no query of this thread sees are passed over.
    var column: array<u32, KEYS>; // registers
    var some = false;
    for (var ci = 0u; ci < KEYS; ci++) { // unroll
      let at = intervals[2u * B * TQ + b * TK + min(j + ci, TK - 1u)];
      column[ci] = select(at, NOWHERE, j + ci >= TK);
      some = some | ((column[ci] >= lowest) & (column[ci] <= highest));
    }
    if (!some) { continue; }
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
        let hidden = (column[ci] < lower[ri]) | (column[ci] > upper[ri]);
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
        acc[ri] = select(out[oRow[ri] + d] * shrink[ri], 0.0, fresh);
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
    fresh = false;
  }
  for (var ri = 0u; ri < ROWS; ri++) { // unroll
    let sum = max(l[ri], 1e-30);
    lse[bh * TQ + min(first + ri, TQ - 1u)] = select(m[ri] + log(sum), NONE, l[ri] == 0.0);
    l[ri] = 1.0 / sum;
  }
  for (var d = 0u; d < DV; d++) {
    var acc: array<f32, ROWS>; // registers
    for (var ri = 0u; ri < ROWS; ri++) { // unroll
      acc[ri] = select(out[oRow[ri] + d] * l[ri], 0.0, fresh);
    }
    for (var ri = 0u; ri < ROWS; ri++) { // unroll
      out[oRow[ri] + d] = acc[ri];
    }
  }
}
