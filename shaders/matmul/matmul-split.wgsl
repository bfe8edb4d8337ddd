// out = epilogue(SCALE * op(a) op(b)) for few outputs and many terms (products with a vector, weight gradients of small
// layers) on real GPUs: the terms of one output are split over the WG_Y rows of a workgroup, and the partial sums meet
// in workgroup memory. Any sizes, all four layouts. A thread owns TILE_M rows and TILE_N columns that lie WG_X apart,
// so that neighbours load neighbouring elements of b [K, N].

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
const WG_Y: u32 = 16u;
const CELLS: u32 = TILE_M * TILE_N;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> residual: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

// One output of every thread at a time.
var<workgroup> partial: array<f32, WG_X * WG_Y>;

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

fn store(batch: u32, row: u32, col: u32, sum: f32) {
  if ((row >= M) | (col >= N)) {
    return;
  }
  let at = (batch * M + row) * N + col;
  var v = SCALE * sum;
  if (BIAS == 1u) {
    v += bias[col];
  }
  if (ACT > 0u) {
    v = activate(v);
  }
  if (RESIDUAL == 1u) {
    v += residual[at];
  }
  if (ACCUMULATE == 1u) {
    v += out[at];
  }
  out[at] = v;
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let row0 = group.y * TILE_M;
  let col0 = group.x * WG_X * TILE_N + local.x;
  for (var batch = group.z; batch < BATCH; batch += 65535u) {
    var acc: array<f32, CELLS>; // registers
    for (var k = local.y; k < K; k += WG_Y) {
      var x: array<f32, TILE_M>; // registers
      var y: array<f32, TILE_N>; // registers
      for (var i = 0u; i < TILE_M; i++) { // unroll
        let row = min(row0 + i, M - 1u);
        if (TRANS_A == 1u) {
          x[i] = a[batch * A_BATCH + k * M + row];
        } else {
          x[i] = a[batch * A_BATCH + row * K + k];
        }
      }
      for (var j = 0u; j < TILE_N; j++) { // unroll
        let col = min(col0 + j * WG_X, N - 1u);
        if (TRANS_B == 1u) {
          y[j] = b[batch * B_BATCH + col * K + k];
        } else {
          y[j] = b[batch * B_BATCH + k * N + col];
        }
      }
      for (var i = 0u; i < TILE_M; i++) { // unroll
        for (var j = 0u; j < TILE_N; j++) { // unroll
          acc[i * TILE_N + j] += x[i] * y[j];
        }
      }
    }
    for (var i = 0u; i < TILE_M; i++) { // unroll
      for (var j = 0u; j < TILE_N; j++) { // unroll
        partial[local.y * WG_X + local.x] = acc[i * TILE_N + j];
        workgroupBarrier();
        for (var half = WG_Y / 2u; half > 0u; half /= 2u) {
          if (local.y < half) {
            partial[local.y * WG_X + local.x] += partial[(local.y + half) * WG_X + local.x];
          }
          workgroupBarrier();
        }
        if (local.y == 0u) {
          store(batch, row0 + i, col0 + j * WG_X, partial[local.x]);
        }
        workgroupBarrier();
      }
    }
  }
}
