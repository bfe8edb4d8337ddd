// out = epilogue(SCALE * op(a) op(b)) for any sizes and all four layouts; one thread computes TILE_M x TILE_N outputs
// in registers. Scalar loads only. Rows and columns beyond the edge repeat the last one: they are loaded, computed and
// stored again with the same value, always by the thread that owns the last one, so there is not one branch (dozens of
// guarded stores take minutes to compile on SwiftShader).

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

const TILE_M: u32 = 4u;
const TILE_N: u32 = 4u;
const WG_X: u32 = 16u;
const WG_Y: u32 = 4u;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> residual: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

fn activate(x: f32) -> f32 {
  if (ACT == 1u) {
    // gelu, tanh form: 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2u)).
    let u = 0.7978845608 * (x + 0.044715 * x * x * x);
    return x / (1.0 + exp(min(-2.0 * u, 80.0)));
  }
  if (ACT == 2u) {
    return x / (1.0 + exp(min(-x, 80.0)));
  }
  return x;
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let row0 = (group.y * WG_Y + local.y) * TILE_M;
  let col0 = (group.x * WG_X + local.x) * TILE_N;
  if (row0 >= M || col0 >= N) {
    return;
  }
  for (var batch = group.z; batch < BATCH; batch += 65535u) {
    var aAt: array<u32, TILE_M>; // registers
    var bAt: array<u32, TILE_N>; // registers
    for (var i = 0u; i < TILE_M; i++) { // unroll
      aAt[i] = batch * A_BATCH + min(row0 + i, M - 1u) * select(K, 1u, TRANS_A == 1u);
    }
    for (var j = 0u; j < TILE_N; j++) { // unroll
      bAt[j] = batch * B_BATCH + min(col0 + j, N - 1u) * select(1u, K, TRANS_B == 1u);
    }
    var acc: array<f32, TILE_M * TILE_N>; // registers
    for (var k = 0u; k < K; k++) {
      var x: array<f32, TILE_M>; // registers
      var y: array<f32, TILE_N>; // registers
      for (var i = 0u; i < TILE_M; i++) { // unroll
        x[i] = a[aAt[i] + k * select(1u, M, TRANS_A == 1u)];
      }
      for (var j = 0u; j < TILE_N; j++) { // unroll
        y[j] = b[bAt[j] + k * select(N, 1u, TRANS_B == 1u)];
      }
      for (var i = 0u; i < TILE_M; i++) { // unroll
        for (var j = 0u; j < TILE_N; j++) { // unroll
          acc[i * TILE_N + j] += x[i] * y[j];
        }
      }
    }
    // All of out is read before any of it is stored, because an edge is stored more than once.
    for (var i = 0u; i < TILE_M; i++) { // unroll
      for (var j = 0u; j < TILE_N; j++) { // unroll
        let col = min(col0 + j, N - 1u);
        let at = (batch * M + min(row0 + i, M - 1u)) * N + col;
        var v = SCALE * acc[i * TILE_N + j];
        if (BIAS == 1u) {
          v += bias[col];
        }
        v = activate(v);
        if (RESIDUAL == 1u) {
          v += residual[at];
        }
        if (ACCUMULATE == 1u) {
          v += out[at];
        }
        acc[i * TILE_N + j] = v;
      }
    }
    for (var i = 0u; i < TILE_M; i++) { // unroll
      for (var j = 0u; j < TILE_N; j++) { // unroll
        out[(batch * M + min(row0 + i, M - 1u)) * N + min(col0 + j, N - 1u)] = acc[i * TILE_N + j];
      }
    }
  }
}
