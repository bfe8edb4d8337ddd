enable subgroups;

// out = epilogue(SCALE * op(a) op(b)) for all four layouts; one thread computes TILE_M x TILE_N outputs in registers.
// Needs N (and K if TRANS_B) divisible by 4; the scalar twin matmul-subgroup.wgsl takes any sizes.
// All threads of a workgroup have the same rows. Four terms of SUBGROUP / 4 rows of op(a) are one load, a value per
// lane, and reach all lanes by broadcasts, which software adapters do in a quarter of the time of a load. No workgroup
// memory. Lanes past the last column repeat it (a broadcast needs every lane) and store nothing; rows and quads past
// the edge repeat the last one in their loads.

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

@compute @workgroup_size(SUBGROUP * GROUPS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let row0 = group.y * TILE_M;
  let quad0 = (group.x * (SUBGROUP * GROUPS) + thread) * QUADS;
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
    // With TRANS_B an entry per column, otherwise per quad of columns.
    for (var j = 0u; j < TILE_N; j++) { // unroll
      if (TRANS_B == 1u) {
        bAt[j] = batch * (B_BATCH / 4u) + (min(quad0 + j / 4u, N / 4u - 1u) * 4u + j % 4u) * (K / 4u);
      } else {
        if (j < QUADS) {
          bAt[j] = batch * (B_BATCH / 4u) + min(quad0 + j, N / 4u - 1u);
        }
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
      var y: array<vec4<f32>, TILE_N>; // registers
      if (TRANS_B == 1u) {
        for (var j = 0u; j < TILE_N; j++) { // unroll
          y[j] = b[bAt[j] + k / 4u];
        }
      }
      for (var s = 0u; s < 4u; s++) { // unroll
        var right: array<vec4<f32>, QUADS>; // registers
        for (var j = 0u; j < QUADS; j++) { // unroll
          if (TRANS_B == 1u) {
            right[j] = vec4(y[j * 4u][s], y[j * 4u + 1u][s], y[j * 4u + 2u][s], y[j * 4u + 3u][s]);
          } else {
            if (K % 4u == 0u) {
              right[j] = b[bAt[j] + (k + s) * (N / 4u)];
            } else {
              right[j] = b[bAt[j] + min(k + s, K - 1u) * (N / 4u)];
            }
          }
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
      let quad = quad0 + i % QUADS;
      if ((row < M) & (quad < N / 4u)) {
        let at = (batch * M + row) * (N / 4u) + quad;
        var v = SCALE * held[i];
        if (BIAS == 1u) {
          v += bias[quad];
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
    }
  }
}
