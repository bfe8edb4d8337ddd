enable subgroups;

// out = epilogue(SCALE * op(a) op(b)) for any sizes and all four layouts; one thread computes TILE_M x TILE_N outputs
// in registers. The twin of matmul-subgroup-vec4.wgsl with one load per element of b: all threads of a workgroup have
// the same rows, four terms of SUBGROUP / 4 rows of op(a) are one load and reach all lanes by broadcasts. Lanes past
// the last column repeat it (a broadcast needs every lane) and store nothing; rows and columns past the edge repeat the
// last one in their loads.

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
const GROUPS: u32 = 1u;
const SUBGROUP: u32 = 4u;
// Rows of op(a) in one load, and loads per four terms.
const ROWS: u32 = SUBGROUP / 4u;
const LOADS: u32 = (TILE_M + ROWS - 1u) / ROWS;
const QUADS: u32 = TILE_N / 4u;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> residual: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

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

@compute @workgroup_size(SUBGROUP * GROUPS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let row0 = group.y * TILE_M;
  let col0 = (group.x * (SUBGROUP * GROUPS) + thread) * TILE_N;
  let term = select(lane % 4u, lane / ROWS, TRANS_A == 1u);
  let line = select(lane / 4u, lane % ROWS, TRANS_A == 1u);
  for (var batch = group.z; batch < BATCH; batch += 65535u) {
    var aAt: array<u32, LOADS>; // registers
    var bAt: array<u32, TILE_N>; // registers
    for (var i = 0u; i < LOADS; i++) { // unroll
      let row = min(row0 + i * ROWS + line, M - 1u);
      if (TRANS_A == 1u) {
        aAt[i] = batch * A_BATCH + term * M + row;
      } else {
        aAt[i] = batch * A_BATCH + row * K + term;
      }
    }
    for (var j = 0u; j < TILE_N; j++) { // unroll
      if (TRANS_B == 1u) {
        bAt[j] = batch * B_BATCH + min(col0 + j, N - 1u) * K;
      } else {
        bAt[j] = batch * B_BATCH + min(col0 + j, N - 1u);
      }
    }
    var acc: array<vec4<f32>, TILE_M * QUADS>; // registers
    for (var k = 0u; k < K; k += 4u) {
      var x: array<f32, LOADS>; // registers
      for (var i = 0u; i < LOADS; i++) { // unroll
        if (TRANS_A == 1u) {
          x[i] = a[aAt[i] + k * M];
        } else {
          x[i] = a[aAt[i] + k];
        }
        if (K % 4u > 0u) {
          // Terms past the last one are zero, whatever lies in their place.
          x[i] = select(x[i], 0.0, k + term >= K);
        }
      }
      for (var s = 0u; s < 4u; s++) { // unroll
        var at = k + s;
        if (K % 4u > 0u) {
          at = min(at, K - 1u);
        }
        if (TRANS_B == 0u) {
          at *= N;
        }
        var right: array<vec4<f32>, QUADS>; // registers
        for (var j = 0u; j < QUADS; j++) { // unroll
          right[j] = vec4(
            b[bAt[j * 4u] + at], b[bAt[j * 4u + 1u] + at],
            b[bAt[j * 4u + 2u] + at], b[bAt[j * 4u + 3u] + at],
          );
        }
        for (var i = 0u; i < TILE_M; i++) { // unroll
          let left = subgroupBroadcast(x[i / ROWS], select(i % ROWS * 4u + s, s * ROWS + i % ROWS, TRANS_A == 1u));
          for (var j = 0u; j < QUADS; j++) { // unroll
            acc[i * QUADS + j] += left * right[j];
          }
        }
      }
    }
    // A rolled loop over memory instead of unrolled ones over registers: the loads and stores of an epilogue take most
    // of the compile time.
    var held: array<vec4<f32>, TILE_M * QUADS>;
    for (var i = 0u; i < TILE_M * QUADS; i++) { // unroll
      held[i] = acc[i];
    }
    for (var i = 0u; i < TILE_M * QUADS; i++) {
      let row = row0 + i / QUADS;
      if (row < M) {
        var v = SCALE * held[i];
        let first = col0 + i % QUADS * 4u;
        let end = min(first + 4u, N);
        if (BIAS == 1u) {
          let col = min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(N - 1u));
          v += vec4(bias[col.x], bias[col.y], bias[col.z], bias[col.w]);
        }
        if (ACT > 0u) {
          v = activate(v);
        }
        for (var col = first; col < end; col++) {
          let at = (batch * M + row) * N + col;
          var x = v[col - first];
          if (RESIDUAL == 1u) {
            x += residual[at];
          }
          if (ACCUMULATE == 1u) {
            x += out[at];
          }
          out[at] = x;
        }
      }
    }
  }
}
