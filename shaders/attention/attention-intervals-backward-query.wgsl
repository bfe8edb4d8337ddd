// Gradient of the queries under a mask of intervals (attention-intervals.ts): ROWS queries of one head own their rows
// of dQ and walk the tiles of keys that they see, as in attention-backward-query.wgsl.
// Source: Dao 2023, arXiv 2307.08691, algorithm 2.

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
const ACCUMULATE: u32 = 0u;
const ROWS: u32 = 4u;
const KEYS: u32 = 4u;
const WG: u32 = 16u;
const NOWHERE: u32 = 0xffffffffu;
const BLOCKS: u32 = (TQ + ROWS - 1u) / ROWS;

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> dOut: array<f32>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<storage, read> intervals: array<u32>;
@group(0) @binding(7) var<storage, read_write> dQ: array<f32>;

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
  var rowLse: array<f32, ROWS>; // registers
  var rowDelta: array<f32, ROWS>; // registers
  for (var ri = 0u; ri < ROWS; ri++) { // unroll
    let row = min(first + ri, TQ - 1u);
    qRow[ri] = qHead + row * Q_T;
    oRow[ri] = oHead + row * O_T;
    lower[ri] = intervals[2u * (b * TQ + row)];
    upper[ri] = intervals[2u * (b * TQ + row) + 1u];
    lowest = min(lowest, lower[ri]);
    highest = max(highest, upper[ri]);
    // A row that sees nothing has lse -1e30; the other sign makes every p of it 0.
    rowLse[ri] = select(lse[bh * TQ + row], 1e30, lse[bh * TQ + row] < -1e29);
    rowDelta[ri] = delta[bh * TQ + row];
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
    var dP: array<f32, ROWS * KEYS>; // registers
    for (var ci = 0u; ci < KEYS; ci++) { // unroll
      let key = min(j + ci, TK - 1u);
      kRow[ci] = kHead + key * K_T;
      vRow[ci] = vHead + key * V_T;
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        s[ri * KEYS + ci] = 0.0;
        dP[ri * KEYS + ci] = 0.0;
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
    for (var d = 0u; d < DV; d++) {
      var dOd: array<f32, ROWS>; // registers
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        dOd[ri] = dOut[oRow[ri] + d];
      }
      for (var ci = 0u; ci < KEYS; ci++) { // unroll
        let vd = v[vRow[ci] + d];
        for (var ri = 0u; ri < ROWS; ri++) { // unroll
          dP[ri * KEYS + ci] += dOd[ri] * vd;
        }
      }
    }
    for (var ri = 0u; ri < ROWS; ri++) { // unroll
      for (var ci = 0u; ci < KEYS; ci++) { // unroll
        let x = s[ri * KEYS + ci] * SCALE - rowLse[ri];
        let hidden = (column[ci] < lower[ri]) | (column[ci] > upper[ri]);
        let p = select(exp(min(x, 80.0)), 0.0, (x < -100.0) | hidden);
        s[ri * KEYS + ci] = p * (dP[ri * KEYS + ci] - rowDelta[ri]) * SCALE;
      }
    }
    for (var d = 0u; d < D; d++) {
      var acc: array<f32, ROWS>; // registers
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        acc[ri] = select(dQ[qRow[ri] + d], 0.0, (ACCUMULATE == 0u) & fresh);
      }
      for (var ci = 0u; ci < KEYS; ci++) { // unroll
        let kd = k[kRow[ci] + d];
        for (var ri = 0u; ri < ROWS; ri++) { // unroll
          acc[ri] += s[ri * KEYS + ci] * kd;
        }
      }
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        dQ[qRow[ri] + d] = acc[ri];
      }
    }
    fresh = false;
  }
  if ((ACCUMULATE == 0u) & fresh) {
    for (var d = 0u; d < D; d++) {
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        dQ[qRow[ri] + d] = 0.0;
      }
    }
  }
}
