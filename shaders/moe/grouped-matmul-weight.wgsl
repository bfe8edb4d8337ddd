// out[e] (+)= sum over the rows r of expert e of a[r, :]^T b[r, :], any sizes. As in matmul, an edge repeats the last
// row or column and stores it again with the same value.

const R: u32 = 1u;
const M: u32 = 1u;
const N: u32 = 1u;
const E: u32 = 1u;
const ACCUMULATE: u32 = 1u;

const TILE_M: u32 = 4u;
const TILE_N: u32 = 4u;
const WG_X: u32 = 8u;
const WG_Y: u32 = 8u;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> offsets: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let row0 = (group.y * WG_Y + local.y) * TILE_M;
  let col0 = (group.x * WG_X + local.x) * TILE_N;
  if (row0 >= M || col0 >= N) {
    return;
  }
  for (var expert = group.z; expert < E; expert += 65535u) {
    var acc: array<f32, TILE_M * TILE_N>; // registers
    let end = min(offsets[expert + 1u], R);
    for (var r = offsets[expert]; r < end; r++) {
      var x: array<f32, TILE_M>; // registers
      var y: array<f32, TILE_N>; // registers
      for (var i = 0u; i < TILE_M; i++) { // unroll
        x[i] = a[r * M + min(row0 + i, M - 1u)];
      }
      for (var j = 0u; j < TILE_N; j++) { // unroll
        y[j] = b[r * N + min(col0 + j, N - 1u)];
      }
      for (var i = 0u; i < TILE_M; i++) { // unroll
        for (var j = 0u; j < TILE_N; j++) { // unroll
          acc[i * TILE_N + j] += x[i] * y[j];
        }
      }
    }
    if (ACCUMULATE == 1u) {
      // All of out is read before any of it is stored, because an edge is stored more than once.
      for (var i = 0u; i < TILE_M; i++) { // unroll
        for (var j = 0u; j < TILE_N; j++) { // unroll
          acc[i * TILE_N + j] += out[(expert * M + min(row0 + i, M - 1u)) * N + min(col0 + j, N - 1u)];
        }
      }
    }
    for (var i = 0u; i < TILE_M; i++) { // unroll
      for (var j = 0u; j < TILE_N; j++) { // unroll
        out[(expert * M + min(row0 + i, M - 1u)) * N + min(col0 + j, N - 1u)] = acc[i * TILE_N + j];
      }
    }
  }
}
