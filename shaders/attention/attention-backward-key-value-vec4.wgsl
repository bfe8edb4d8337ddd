// FlashAttention-2 backward of keys and values: KEYS keys of one kv head own their rows of dK and dV and walk the
// queries that see them, over all query heads of the kv head (no atomics, fixed order). p = exp(s - lse), dV (+)= p^T
// dO, dS = p (dP - delta), dK (+)= dS^T Q SCALE. Both gradients go into the one buffer dKV (DK_*, DV_*). s and dP are
// register tiles; the gradients live in memory between query tiles. Keys past TK repeat key TK - 1 (same values, same
// place); query rows past TQ have p = 0, so nothing branches. Needs everything divisible by 4.
// Source: Dao 2023, arXiv 2307.08691, algorithm 2, split into two kernels that each own what they write.

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
const QUADS: u32 = ROWS / 4u;
const BLOCKS: u32 = (TK + KEYS - 1u) / KEYS;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> dOut: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> dKV: array<vec4<f32>>;

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
  let kHead = (K_OFF + b * K_B + hkv * K_H) / 4u;
  let vHead = (V_OFF + b * V_B + hkv * V_H) / 4u;
  let dkHead = (DK_OFF + b * DK_B + hkv * DK_H) / 4u;
  let dvHead = (DV_OFF + b * DV_B + hkv * DV_H) / 4u;
  // Query heads h with floor(h HKV / HQ) = hkv, and the first query that sees key `first`.
  let hFirst = (hkv * HQ + HKV - 1u) / HKV;
  let hEnd = ((hkv + 1u) * HQ + HKV - 1u) / HKV;
  var start = 0u;
  if (CAUSAL == 1u) { start = min(max(first + K_START, Q_START) - Q_START, TQ - 1u); }

  var kRow: array<u32, KEYS>; // registers
  var vRow: array<u32, KEYS>; // registers
  var dkRow: array<u32, KEYS>; // registers
  var dvRow: array<u32, KEYS>; // registers
  var seenFrom: array<u32, KEYS>; // registers
  for (var ci = 0u; ci < KEYS; ci++) { // unroll
    let key = min(first + ci, TK - 1u);
    kRow[ci] = kHead + key * (K_T / 4u);
    vRow[ci] = vHead + key * (V_T / 4u);
    dkRow[ci] = dkHead + key * (DK_T / 4u);
    dvRow[ci] = dvHead + key * (DV_T / 4u);
    seenFrom[ci] = key + K_START;
  }
  for (var h = hFirst; h < hEnd; h++) {
    let qHead = (Q_OFF + b * Q_B + h * Q_H) / 4u;
    let oHead = (O_OFF + b * O_B + h * O_H) / 4u;
    for (var i = start; i < TQ; i += ROWS) {
      let fresh = (ACCUMULATE == 0u) & (h == hFirst) & (i == start);
      var qRow: array<u32, ROWS>; // registers
      var oRow: array<u32, ROWS>; // registers
      var rowLse: array<vec4<f32>, QUADS>; // registers
      var rowDelta: array<vec4<f32>, QUADS>; // registers
      var s: array<vec4<f32>, KEYS * QUADS>; // registers
      var dP: array<vec4<f32>, KEYS * QUADS>; // registers
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        let row = min(i + ri, TQ - 1u);
        qRow[ri] = qHead + row * (Q_T / 4u);
        oRow[ri] = oHead + row * (O_T / 4u);
      }
      for (var ri = 0u; ri < QUADS; ri++) { // unroll
        let row = vec4(i + 4u * ri) + vec4(0u, 1u, 2u, 3u);
        let stat = (b * HQ + h) * TQ + min(row, vec4(TQ - 1u));
        let rows = vec4(lse[stat.x], lse[stat.y], lse[stat.z], lse[stat.w]);
        // A row past the end or one that sees nothing (lse -1e30) gets +1e30, which makes every p of it 0.
        rowLse[ri] = select(rows, vec4(1e30), (rows < vec4(-1e29)) | (row >= vec4(TQ)));
        rowDelta[ri] = vec4(delta[stat.x], delta[stat.y], delta[stat.z], delta[stat.w]);
      }
      for (var n = 0u; n < KEYS * QUADS; n++) { // unroll
        s[n] = vec4<f32>(0.0);
        dP[n] = vec4<f32>(0.0);
      }
      for (var d = 0u; d < D / 4u; d++) {
        var kd: array<vec4<f32>, KEYS>; // registers
        for (var ci = 0u; ci < KEYS; ci++) { // unroll
          kd[ci] = k[kRow[ci] + d];
        }
        for (var ri = 0u; ri < QUADS; ri++) { // unroll
          let qd = mat4x4<f32>(
            q[qRow[4u * ri] + d], q[qRow[4u * ri + 1u] + d],
            q[qRow[4u * ri + 2u] + d], q[qRow[4u * ri + 3u] + d],
          );
          for (var ci = 0u; ci < KEYS; ci++) { // unroll
            s[ci * QUADS + ri] += kd[ci] * qd;
          }
        }
      }
      for (var d = 0u; d < DV / 4u; d++) {
        var vd: array<vec4<f32>, KEYS>; // registers
        for (var ci = 0u; ci < KEYS; ci++) { // unroll
          vd[ci] = v[vRow[ci] + d];
        }
        for (var ri = 0u; ri < QUADS; ri++) { // unroll
          let dOd = mat4x4<f32>(
            dOut[oRow[4u * ri] + d], dOut[oRow[4u * ri + 1u] + d],
            dOut[oRow[4u * ri + 2u] + d], dOut[oRow[4u * ri + 3u] + d],
          );
          for (var ci = 0u; ci < KEYS; ci++) { // unroll
            dP[ci * QUADS + ri] += vd[ci] * dOd;
          }
        }
      }
      for (var ci = 0u; ci < KEYS; ci++) { // unroll
        for (var ri = 0u; ri < QUADS; ri++) { // unroll
          let x = s[ci * QUADS + ri] * SCALE - rowLse[ri];
          var hidden = x < vec4(-100.0);
          if (CAUSAL == 1u) {
            hidden |= vec4(seenFrom[ci]) > vec4(i + 4u * ri + Q_START) + vec4(0u, 1u, 2u, 3u);
          }
          let p = select(exp(min(x, vec4(80.0))), vec4<f32>(0.0), hidden);
          s[ci * QUADS + ri] = p;
          dP[ci * QUADS + ri] = p * (dP[ci * QUADS + ri] - rowDelta[ri]) * SCALE;
        }
      }
      for (var d = 0u; d < DV / 4u; d++) {
        var acc: array<vec4<f32>, KEYS>; // registers
        for (var ci = 0u; ci < KEYS; ci++) { // unroll
          acc[ci] = select(dKV[dvRow[ci] + d], vec4<f32>(0.0), fresh);
        }
        for (var ri = 0u; ri < QUADS; ri++) { // unroll
          let dOd = mat4x4<f32>(
            dOut[oRow[4u * ri] + d], dOut[oRow[4u * ri + 1u] + d],
            dOut[oRow[4u * ri + 2u] + d], dOut[oRow[4u * ri + 3u] + d],
          );
          for (var ci = 0u; ci < KEYS; ci++) { // unroll
            acc[ci] += dOd * s[ci * QUADS + ri];
          }
        }
        for (var ci = 0u; ci < KEYS; ci++) { // unroll
          dKV[dvRow[ci] + d] = acc[ci];
        }
      }
      for (var d = 0u; d < D / 4u; d++) {
        var acc: array<vec4<f32>, KEYS>; // registers
        for (var ci = 0u; ci < KEYS; ci++) { // unroll
          acc[ci] = select(dKV[dkRow[ci] + d], vec4<f32>(0.0), fresh);
        }
        for (var ri = 0u; ri < QUADS; ri++) { // unroll
          let qd = mat4x4<f32>(
            q[qRow[4u * ri] + d], q[qRow[4u * ri + 1u] + d],
            q[qRow[4u * ri + 2u] + d], q[qRow[4u * ri + 3u] + d],
          );
          for (var ci = 0u; ci < KEYS; ci++) { // unroll
            acc[ci] += qd * dP[ci * QUADS + ri];
          }
        }
        for (var ci = 0u; ci < KEYS; ci++) { // unroll
          dKV[dkRow[ci] + d] = acc[ci];
        }
      }
    }
  }
}
