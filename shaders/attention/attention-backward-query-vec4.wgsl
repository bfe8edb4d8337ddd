// FlashAttention-2 backward of the queries: ROWS queries of one head own their dQ rows and walk the keys that they see
// (no atomics). p = exp(s - lse), dS = p (dP - delta), dQ (+)= dS K SCALE. s and dP are register tiles of ROWS x KEYS
// in quads of keys; dQ lives in memory between key tiles. Rows past TQ repeat row TQ - 1 (same values, same place), so
// nothing branches. Needs everything divisible by 4, KEYS too.
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
const ACCUMULATE: u32 = 0u;
const ROWS: u32 = 4u;
const KEYS: u32 = 4u;
const WG: u32 = 16u;
const BLOCKS: u32 = (TQ + ROWS - 1u) / ROWS;
const QUADS: u32 = KEYS / 4u;
// 1 where some query of a block does not see all keys of a tile.
const MASKED: u32 = 1u;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> dOut: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> dQ: array<vec4<f32>>;

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
  let qHead = (Q_OFF + b * Q_B + h * Q_H) / 4u;
  let kHead = (K_OFF + b * K_B + hkv * K_H) / 4u;
  let vHead = (V_OFF + b * V_B + hkv * V_H) / 4u;
  let oHead = (O_OFF + b * O_B + h * O_H) / 4u;
  var end = TK;
  if (CAUSAL == 1u) { end = clamp(max(min(first + ROWS, TQ) + Q_START, K_START) - K_START, 1u, TK); }

  var qRow: array<u32, ROWS>; // registers
  var oRow: array<u32, ROWS>; // registers
  var seen: array<u32, ROWS>; // registers
  var rowLse: array<f32, ROWS>; // registers
  var rowDelta: array<f32, ROWS>; // registers
  for (var ri = 0u; ri < ROWS; ri++) { // unroll
    let row = min(first + ri, TQ - 1u);
    qRow[ri] = qHead + row * (Q_T / 4u);
    oRow[ri] = oHead + row * (O_T / 4u);
    seen[ri] = TK;
    if (CAUSAL == 1u) {
      seen[ri] = min(TK, max(row + Q_START + 1u, K_START) - K_START);
    }
    // A row that sees nothing has lse -1e30; the other sign makes every p of it 0.
    rowLse[ri] = select(lse[bh * TQ + row], 1e30, lse[bh * TQ + row] < -1e29);
    rowDelta[ri] = delta[bh * TQ + row];
  }
  for (var j = 0u; j < end; j += KEYS) {
    var kRow: array<u32, KEYS>; // registers
    var vRow: array<u32, KEYS>; // registers
    var s: array<vec4<f32>, ROWS * QUADS>; // registers
    var dP: array<vec4<f32>, ROWS * QUADS>; // registers
    for (var ci = 0u; ci < KEYS; ci++) { // unroll
      let key = min(j + ci, TK - 1u);
      kRow[ci] = kHead + key * (K_T / 4u);
      vRow[ci] = vHead + key * (V_T / 4u);
    }
    for (var i = 0u; i < ROWS * QUADS; i++) { // unroll
      s[i] = vec4<f32>(0.0);
      dP[i] = vec4<f32>(0.0);
    }
    for (var d = 0u; d < D / 4u; d++) {
      var qd: array<vec4<f32>, ROWS>; // registers
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        qd[ri] = q[qRow[ri] + d];
      }
      for (var ci = 0u; ci < QUADS; ci++) { // unroll
        let kd = mat4x4<f32>(
          k[kRow[4u * ci] + d], k[kRow[4u * ci + 1u] + d],
          k[kRow[4u * ci + 2u] + d], k[kRow[4u * ci + 3u] + d],
        );
        for (var ri = 0u; ri < ROWS; ri++) { // unroll
          s[ri * QUADS + ci] += qd[ri] * kd;
        }
      }
    }
    for (var d = 0u; d < DV / 4u; d++) {
      var dOd: array<vec4<f32>, ROWS>; // registers
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        dOd[ri] = dOut[oRow[ri] + d];
      }
      for (var ci = 0u; ci < QUADS; ci++) { // unroll
        let vd = mat4x4<f32>(
          v[vRow[4u * ci] + d], v[vRow[4u * ci + 1u] + d],
          v[vRow[4u * ci + 2u] + d], v[vRow[4u * ci + 3u] + d],
        );
        for (var ri = 0u; ri < ROWS; ri++) { // unroll
          dP[ri * QUADS + ci] += dOd[ri] * vd;
        }
      }
    }
    for (var ri = 0u; ri < ROWS; ri++) { // unroll
      for (var ci = 0u; ci < QUADS; ci++) { // unroll
        let x = s[ri * QUADS + ci] * SCALE - rowLse[ri];
        var p = select(exp(min(x, vec4(80.0))), vec4<f32>(0.0), x < vec4(-100.0));
        if (MASKED == 1u) {
          let key = vec4(j + 4u * ci) + vec4(0u, 1u, 2u, 3u);
          p = select(p, vec4<f32>(0.0), key >= vec4(seen[ri]));
        }
        s[ri * QUADS + ci] = p * (dP[ri * QUADS + ci] - rowDelta[ri]) * SCALE;
      }
    }
    for (var d = 0u; d < D / 4u; d++) {
      var acc: array<vec4<f32>, ROWS>; // registers
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        acc[ri] = select(dQ[qRow[ri] + d], vec4<f32>(0.0), (ACCUMULATE == 0u) & (j == 0u));
      }
      for (var ci = 0u; ci < QUADS; ci++) { // unroll
        let kd = mat4x4<f32>(
          k[kRow[4u * ci] + d], k[kRow[4u * ci + 1u] + d],
          k[kRow[4u * ci + 2u] + d], k[kRow[4u * ci + 3u] + d],
        );
        for (var ri = 0u; ri < ROWS; ri++) { // unroll
          acc[ri] += kd * s[ri * QUADS + ci];
        }
      }
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        dQ[qRow[ri] + d] = acc[ri];
      }
    }
  }
}
