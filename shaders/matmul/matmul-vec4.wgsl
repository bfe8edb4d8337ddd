// out = epilogue(SCALE * op(a) op(b)) where op(a) is [M, K] and op(b) is [K, N]; one thread computes TILE_M x TILE_N
// outputs in registers. Four neighbouring k of a row are one vec4 register. A matrix whose contiguous dimension is not
// k is turned by naming other components, which costs nothing where a vec4 is four scalar registers; so all four
// layouts share this text and its sum of dot products. Needs N, K (and M if TRANS_A) divisible by 4. Rows and quads
// beyond the edge repeat the last one: they are loaded, computed and stored again with the same value, always by the
// thread that owns the last one, so there is not one branch. No workgroup memory: software adapters pay more for a
// barrier than for the repeated loads.

const BATCH: u32 = 1u;
const M: u32 = 1u;
const N: u32 = 1u;
const K: u32 = 1u;
const TRANS_A: u32 = 1u;
const TRANS_B: u32 = 1u;
const A_BATCH: u32 = 1u;
const B_BATCH: u32 = 1u;
const BIAS: u32 = 1u;
const ACT: u32 = 1u;
const RESIDUAL: u32 = 1u;
const ACCUMULATE: u32 = 1u;
const SCALE: f32 = 1.0;

const TILE_M: u32 = 8u;
const TILE_N: u32 = 8u;
const WG_X: u32 = 8u;
const WG_Y: u32 = 8u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

fn activate(x: vec4<f32>) -> vec4<f32> {
  if (ACT == 1u) {
    // gelu, tanh form: 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2u)).
    let u = 0.7978845608 * (x + 0.044715 * x * x * x);
    return x / (1.0 + exp(min(-2.0 * u, vec4(80.0))));
  }
  if (ACT == 2u) {
    return x / (1.0 + exp(min(-x, vec4(80.0))));
  }
  return x;
}

// The row whose values register row i holds; a transposed `a` is loaded, and so repeated, in quads of rows.
fn outRow(row0: u32, i: u32) -> u32 {
  return select(min(row0 + i, M - 1u), min(row0 + (i / 4u) * 4u, max(M, 4u) - 4u) + i % 4u, TRANS_A == 1u);
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let row0 = (group.y * WG_Y + local.y) * TILE_M;
  let quad0 = (group.x * WG_X + local.x) * (TILE_N / 4u);
  if (row0 >= M || quad0 >= N / 4u) {
    return;
  }
  for (var batch = group.z; batch < BATCH; batch += 65535u) {
    var aAt: array<u32, TILE_M>; // registers
    var bAt: array<u32, TILE_N>; // registers
    for (var i = 0u; i < TILE_M; i++) { // unroll
      if (TRANS_A == 0u) {
        aAt[i] = batch * (A_BATCH / 4u) + min(row0 + i, M - 1u) * (K / 4u);
      } else {
        aAt[i] = batch * (A_BATCH / 4u) + min(row0 / 4u + i / 4u, M / 4u - 1u) + (i % 4u) * (M / 4u);
      }
    }
    for (var j = 0u; j < TILE_N; j++) { // unroll
      let quad = min(quad0 + j / 4u, N / 4u - 1u);
      if (TRANS_B == 1u) {
        bAt[j] = batch * (B_BATCH / 4u) + (quad * 4u + j % 4u) * (K / 4u);
      } else {
        bAt[j] = batch * (B_BATCH / 4u) + quad + (j % 4u) * (N / 4u);
      }
    }
    var acc: array<f32, TILE_M * TILE_N>; // registers
    for (var k = 0u; k < K / 4u; k++) {
      var left: array<vec4<f32>, TILE_M>; // registers
      var right: array<vec4<f32>, TILE_N>; // registers
      for (var i = 0u; i < TILE_M; i += 4u) { // unroll
        let r0 = a[aAt[i]];
        let r1 = a[aAt[i + 1u]];
        let r2 = a[aAt[i + 2u]];
        let r3 = a[aAt[i + 3u]];
        if (TRANS_A == 0u) {
          left[i] = r0;
          left[i + 1u] = r1;
          left[i + 2u] = r2;
          left[i + 3u] = r3;
        } else {
          left[i] = vec4(r0.x, r1.x, r2.x, r3.x);
          left[i + 1u] = vec4(r0.y, r1.y, r2.y, r3.y);
          left[i + 2u] = vec4(r0.z, r1.z, r2.z, r3.z);
          left[i + 3u] = vec4(r0.w, r1.w, r2.w, r3.w);
        }
      }
      for (var j = 0u; j < TILE_N; j += 4u) { // unroll
        let r0 = b[bAt[j]];
        let r1 = b[bAt[j + 1u]];
        let r2 = b[bAt[j + 2u]];
        let r3 = b[bAt[j + 3u]];
        if (TRANS_B == 1u) {
          right[j] = r0;
          right[j + 1u] = r1;
          right[j + 2u] = r2;
          right[j + 3u] = r3;
        } else {
          right[j] = vec4(r0.x, r1.x, r2.x, r3.x);
          right[j + 1u] = vec4(r0.y, r1.y, r2.y, r3.y);
          right[j + 2u] = vec4(r0.z, r1.z, r2.z, r3.z);
          right[j + 3u] = vec4(r0.w, r1.w, r2.w, r3.w);
        }
      }
      for (var i = 0u; i < TILE_M; i++) { // unroll
        for (var j = 0u; j < TILE_N; j++) { // unroll
          acc[i * TILE_N + j] += dot(left[i], right[j]);
        }
      }
      for (var i = 0u; i < TILE_M; i++) { // unroll
        aAt[i] += select(1u, M, TRANS_A == 1u);
      }
      for (var j = 0u; j < TILE_N; j++) { // unroll
        bAt[j] += select(N, 1u, TRANS_B == 1u);
      }
    }
    // All of out is read before any of it is stored, because an edge is stored more than once.
    var result: array<vec4<f32>, TILE_M * TILE_N / 4u>; // registers
    for (var i = 0u; i < TILE_M; i++) { // unroll
      for (var j = 0u; j < TILE_N; j += 4u) { // unroll
        let quad = min(quad0 + j / 4u, N / 4u - 1u);
        let at = (batch * M + outRow(row0, i)) * (N / 4u) + quad;
        var v = SCALE * vec4(
          acc[i * TILE_N + j], acc[i * TILE_N + j + 1u],
          acc[i * TILE_N + j + 2u], acc[i * TILE_N + j + 3u],
        );
        if (BIAS == 1u) {
          v += bias[quad];
        }
        v = activate(v);
        if (RESIDUAL == 1u) {
          v += residual[at];
        }
        if (ACCUMULATE == 1u) {
          v += out[at];
        }
        result[(i * TILE_N + j) / 4u] = v;
      }
    }
    for (var i = 0u; i < TILE_M; i++) { // unroll
      for (var j = 0u; j < TILE_N; j += 4u) { // unroll
        out[(batch * M + outRow(row0, i)) * (N / 4u) + min(quad0 + j / 4u, N / 4u - 1u)] =
          result[(i * TILE_N + j) / 4u];
      }
    }
  }
}
