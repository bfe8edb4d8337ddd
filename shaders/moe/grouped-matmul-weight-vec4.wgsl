// out[e] (+)= sum over the rows r of expert e of a[r, :]^T b[r, :]. Needs M and N divisible by 4. As in matmul-vec4, an
// edge repeats the last quad of rows or columns and stores it again with the same value.

const R: u32 = 1u;
const M: u32 = 1u;
const N: u32 = 1u;
const E: u32 = 1u;
const ACCUMULATE: u32 = 1u;

const TILE_M: u32 = 8u;
const TILE_N: u32 = 8u;
const WG_X: u32 = 8u;
const WG_Y: u32 = 8u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> offsets: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let rowQuad0 = (group.y * WG_Y + local.y) * (TILE_M / 4u);
  let colQuad0 = (group.x * WG_X + local.x) * (TILE_N / 4u);
  if (rowQuad0 >= M / 4u || colQuad0 >= N / 4u) {
    return;
  }
  for (var expert = group.z; expert < E; expert += 65535u) {
    var acc: array<vec4<f32>, TILE_M * TILE_N / 4u>; // registers
    let end = min(offsets[expert + 1u], R);
    for (var r = offsets[expert]; r < end; r++) {
      var x: array<vec4<f32>, TILE_M / 4u>; // registers
      var y: array<vec4<f32>, TILE_N / 4u>; // registers
      for (var i = 0u; i < TILE_M / 4u; i++) { // unroll
        x[i] = a[r * (M / 4u) + min(rowQuad0 + i, M / 4u - 1u)];
      }
      for (var j = 0u; j < TILE_N / 4u; j++) { // unroll
        y[j] = b[r * (N / 4u) + min(colQuad0 + j, N / 4u - 1u)];
      }
      for (var i = 0u; i < TILE_M; i++) { // unroll
        for (var j = 0u; j < TILE_N / 4u; j++) { // unroll
          acc[i * (TILE_N / 4u) + j] += x[i / 4u][i % 4u] * y[j];
        }
      }
    }
    if (ACCUMULATE == 1u) {
      // All of out is read before any of it is stored, because an edge is stored more than once.
      for (var i = 0u; i < TILE_M; i++) { // unroll
        for (var j = 0u; j < TILE_N / 4u; j++) { // unroll
          acc[i * (TILE_N / 4u) + j] += out[outAt(expert, rowQuad0, i, colQuad0 + j)];
        }
      }
    }
    for (var i = 0u; i < TILE_M; i++) { // unroll
      for (var j = 0u; j < TILE_N / 4u; j++) { // unroll
        out[outAt(expert, rowQuad0, i, colQuad0 + j)] = acc[i * (TILE_N / 4u) + j];
      }
    }
  }
}

fn outAt(expert: u32, rowQuad0: u32, i: u32, colQuad: u32) -> u32 {
  let row = min(rowQuad0 + i / 4u, M / 4u - 1u) * 4u + i % 4u;
  return (expert * M + row) * (N / 4u) + min(colQuad, N / 4u - 1u);
}
