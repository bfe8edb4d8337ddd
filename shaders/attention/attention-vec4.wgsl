// FlashAttention-2 forward: ROWS queries of one head per thread against tiles of KEYS keys. s is a register tile of
// quads of keys, D and DV are rolled loops, so code and registers do not grow with the head size; the unscaled output
// lives in `out` between key tiles and is divided by l at the end. Keys after the last visible one are never visited.
// Rows past TQ repeat row TQ - 1 (same values, same place), so nothing branches: `&&`, `||` and `if` in unrolled code
// make some compilers exponentially slow. Needs everything divisible by 4, KEYS too. Threads: heads fastest (neighbours
// do equal causal work). Source: Dao 2023, arXiv 2307.08691, algorithm 1.

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
const QUADS: u32 = KEYS / 4u;
// 1 where some query of a block does not see all keys of a tile.
const MASKED: u32 = 1u;
const NONE: f32 = -1e30;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;
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
  let qHead = (Q_OFF + b * Q_B + h * Q_H) / 4u;
  let kHead = (K_OFF + b * K_B + hkv * K_H) / 4u;
  let vHead = (V_OFF + b * V_B + hkv * V_H) / 4u;
  let oHead = (O_OFF + b * O_B + h * O_H) / 4u;
  var end = TK;
  if (CAUSAL == 1u) { end = clamp(max(min(first + ROWS, TQ) + Q_START, K_START) - K_START, 1u, TK); }

  var qRow: array<u32, ROWS>; // registers
  var oRow: array<u32, ROWS>; // registers
  var line: array<u32, ROWS>; // registers
  var seen: array<u32, ROWS>; // registers
  var m: array<f32, ROWS>; // registers
  var l: array<f32, ROWS>; // registers
  for (var ri = 0u; ri < ROWS; ri++) { // unroll
    let row = min(first + ri, TQ - 1u);
    qRow[ri] = qHead + row * (Q_T / 4u);
    oRow[ri] = oHead + row * (O_T / 4u);
    line[ri] = row;
    seen[ri] = TK;
    if (CAUSAL == 1u) {
      seen[ri] = min(TK, max(row + Q_START + 1u, K_START) - K_START);
    }
    m[ri] = NONE;
    l[ri] = 0.0;
  }
  for (var j = 0u; j < end; j += KEYS) {
    var kRow: array<u32, KEYS>; // registers
    var vRow: array<u32, KEYS>; // registers
    var s: array<vec4<f32>, ROWS * QUADS>; // registers
    for (var ci = 0u; ci < KEYS; ci++) { // unroll
      let key = min(j + ci, TK - 1u);
      kRow[ci] = kHead + key * (K_T / 4u);
      vRow[ci] = vHead + key * (V_T / 4u);
    }
    for (var i = 0u; i < ROWS * QUADS; i++) { // unroll
      s[i] = vec4<f32>(0.0);
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
    var shrink: array<f32, ROWS>; // registers
    for (var ri = 0u; ri < ROWS; ri++) { // unroll
      var peak = vec4(m[ri]);
      for (var ci = 0u; ci < QUADS; ci++) { // unroll
        s[ri * QUADS + ci] *= SCALE;
        if (MASKED == 1u) {
          let key = vec4(j + 4u * ci) + vec4(0u, 1u, 2u, 3u);
          s[ri * QUADS + ci] = select(s[ri * QUADS + ci], vec4(NONE), key >= vec4(seen[ri]));
        }
        peak = max(peak, s[ri * QUADS + ci]);
      }
      let top = max(max(peak.x, peak.y), max(peak.z, peak.w));
      shrink[ri] = exp(max(m[ri] - top, -100.0));
      m[ri] = top;
      // A row without a key so far has top = NONE: the floor keeps its exp at 0 instead of exp(NONE - NONE) = 1.
      let base = max(top, 0.1 * NONE);
      var sum = vec4<f32>(0.0);
      for (var ci = 0u; ci < QUADS; ci++) { // unroll
        let x = s[ri * QUADS + ci] - base;
        s[ri * QUADS + ci] = select(exp(x), vec4<f32>(0.0), x < vec4(-100.0));
        sum += s[ri * QUADS + ci];
      }
      l[ri] = l[ri] * shrink[ri] + ((sum.x + sum.y) + (sum.z + sum.w));
    }
    for (var d = 0u; d < DV / 4u; d++) {
      var acc: array<vec4<f32>, ROWS>; // registers
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        acc[ri] = select(out[oRow[ri] + d] * shrink[ri], vec4<f32>(0.0), j == 0u);
      }
      for (var ci = 0u; ci < QUADS; ci++) { // unroll
        let vd = mat4x4<f32>(
          v[vRow[4u * ci] + d], v[vRow[4u * ci + 1u] + d],
          v[vRow[4u * ci + 2u] + d], v[vRow[4u * ci + 3u] + d],
        );
        for (var ri = 0u; ri < ROWS; ri++) { // unroll
          acc[ri] += vd * s[ri * QUADS + ci];
        }
      }
      for (var ri = 0u; ri < ROWS; ri++) { // unroll
        out[oRow[ri] + d] = acc[ri];
      }
    }
  }
  for (var ri = 0u; ri < ROWS; ri++) { // unroll
    let sum = max(l[ri], 1e-30);
    lse[bh * TQ + line[ri]] = select(m[ri] + log(sum), NONE, l[ri] == 0.0);
    l[ri] = 1.0 / sum;
  }
  for (var d = 0u; d < DV / 4u; d++) {
    var acc: array<vec4<f32>, ROWS>; // registers
    for (var ri = 0u; ri < ROWS; ri++) { // unroll
      acc[ri] = out[oRow[ri] + d] * l[ri];
    }
    for (var ri = 0u; ri < ROWS; ri++) { // unroll
      out[oRow[ri] + d] = acc[ri];
    }
  }
}
