// Gradients of keys and values under a mask of intervals (attention-intervals.ts): KEYS keys of one kv head own their
// rows of dK and dV and walk the tiles of queries that see them, over all query heads of the kv head, as in
// attention-backward-key-value.wgsl. Source: Dao 2023, arXiv 2307.08691, algorithm 2.

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
const DK_OFF: u32 = 0u;
const DK_B: u32 = 4u;
const DK_H: u32 = 4u;
const DK_T: u32 = 4u;
const DV_OFF: u32 = 0u;
const DV_B: u32 = 4u;
const DV_H: u32 = 4u;
const DV_T: u32 = 4u;
const ACCUMULATE: u32 = 0u;
const ROWS: u32 = 4u;
const KEYS: u32 = 4u;
const WG: u32 = 16u;
const BLOCKS: u32 = (TK + KEYS - 1u) / KEYS;

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> dOut: array<f32>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<storage, read> intervals: array<u32>;
@group(0) @binding(7) var<storage, read_write> dKV: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  // Long and short workgroups in turn: some drivers give each core one run of them.
  let turn = group.y * groups.x + group.x;
  let id = select(turn / 2u, groups.x * groups.y - 1u - turn / 2u, turn % 2u == 1u) * WG + lane;
  if (id >= BLOCKS * B * HKV) { return; }
  let b = id % (B * HKV) / HKV;
  let hkv = id % HKV;
  let first = id / (B * HKV) * KEYS;
  let kHead = K_OFF + b * K_B + hkv * K_H;
  let vHead = V_OFF + b * V_B + hkv * V_H;
  let dkHead = DK_OFF + b * DK_B + hkv * DK_H;
  let dvHead = DV_OFF + b * DV_B + hkv * DV_H;
  // Query heads h with floor(h HKV / HQ) = hkv.
  let hFirst = (hkv * HQ + HKV - 1u) / HKV;
  let hEnd = ((hkv + 1u) * HQ + HKV - 1u) / HKV;
  var fresh = true;

  var kRow: array<u32, KEYS>; // registers
  var vRow: array<u32, KEYS>; // registers
  var dkRow: array<u32, KEYS>; // registers
  var dvRow: array<u32, KEYS>; // registers
  var column: array<u32, KEYS>; // registers
  for (var ci = 0u; ci < KEYS; ci++) { // unroll
    let key = min(first + ci, TK - 1u);
    kRow[ci] = kHead + key * K_T;
    vRow[ci] = vHead + key * V_T;
    dkRow[ci] = dkHead + key * DK_T;
    dvRow[ci] = dvHead + key * DV_T;
    column[ci] = intervals[2u * B * TQ + b * TK + key];
  }
  for (var h = hFirst; h < hEnd; h++) {
    let qHead = Q_OFF + b * Q_B + h * Q_H;
    let oHead = O_OFF + b * O_B + h * O_H;
    for (var i = 0u; i < TQ; i += ROWS) {
      // Tiles of queries that see no key of this thread are passed over.
      var lower: array<u32, ROWS>; // registers
      var upper: array<u32, ROWS>; // registers
      var some = false;
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        let at = 2u * (b * TQ + min(i + ri, TQ - 1u));
        lower[ri] = intervals[at];
        upper[ri] = intervals[at + 1u];
        for (var ci = 0u; ci < KEYS; ci++) { // unroll
          some = some | ((column[ci] >= lower[ri]) & (column[ci] <= upper[ri]));
        }
      }
      if (!some) { continue; }
      var qRow: array<u32, ROWS>; // registers
      var oRow: array<u32, ROWS>; // registers
      var rowLse: array<f32, ROWS>; // registers
      var rowDelta: array<f32, ROWS>; // registers
      var s: array<f32, ROWS * KEYS>; // registers
      var dP: array<f32, ROWS * KEYS>; // registers
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        let row = min(i + ri, TQ - 1u);
        let stat = (b * HQ + h) * TQ + row;
        qRow[ri] = qHead + row * Q_T;
        oRow[ri] = oHead + row * O_T;
        // A row past the end or one that sees nothing (lse -1e30) gets +1e30, which makes every p of it 0.
        rowLse[ri] = select(lse[stat], 1e30, (lse[stat] < -1e29) | (i + ri >= TQ));
        rowDelta[ri] = delta[stat];
        for (var ci = 0u; ci < KEYS; ci++) { // unroll
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
          s[ri * KEYS + ci] = p;
          dP[ri * KEYS + ci] = p * (dP[ri * KEYS + ci] - rowDelta[ri]) * SCALE;
        }
      }
      for (var d = 0u; d < DV; d++) {
        var acc: array<f32, KEYS>; // registers
        for (var ci = 0u; ci < KEYS; ci++) { // unroll
          acc[ci] = select(dKV[dvRow[ci] + d], 0.0, (ACCUMULATE == 0u) & fresh);
        }
        for (var ri = 0u; ri < ROWS; ri++) { // unroll
          let dOv = dOut[oRow[ri] + d];
          for (var ci = 0u; ci < KEYS; ci++) { // unroll
            acc[ci] += s[ri * KEYS + ci] * dOv;
          }
        }
        for (var ci = 0u; ci < KEYS; ci++) { // unroll
          dKV[dvRow[ci] + d] = acc[ci];
        }
      }
      for (var d = 0u; d < D; d++) {
        var acc: array<f32, KEYS>; // registers
        for (var ci = 0u; ci < KEYS; ci++) { // unroll
          acc[ci] = select(dKV[dkRow[ci] + d], 0.0, (ACCUMULATE == 0u) & fresh);
        }
        for (var ri = 0u; ri < ROWS; ri++) { // unroll
          let qv = q[qRow[ri] + d];
          for (var ci = 0u; ci < KEYS; ci++) { // unroll
            acc[ci] += dP[ri * KEYS + ci] * qv;
          }
        }
        for (var ci = 0u; ci < KEYS; ci++) { // unroll
          dKV[dkRow[ci] + d] = acc[ci];
        }
      }
      fresh = false;
    }
  }
  if ((ACCUMULATE == 0u) & fresh) {
    for (var ci = 0u; ci < KEYS; ci++) { // unroll
      for (var d = 0u; d < DV; d++) { dKV[dvRow[ci] + d] = 0.0; }
      for (var d = 0u; d < D; d++) { dKV[dkRow[ci] + d] = 0.0; }
    }
  }
}
