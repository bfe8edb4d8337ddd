// out[r, :] (+)= a[r, :] op(b[e]) + bias[e] for the rows r of each expert e; a tile of rows never crosses an expert's
// edge. Needs N and K divisible by 4. As in matmul-vec4, four neighbouring k are one register, b [K, N] is turned by
// naming components, and an edge repeats the last row or quad and stores it again with the same value.

const R: u32 = 1u;
const N: u32 = 1u;
const K: u32 = 1u;
const E: u32 = 1u;
const TRANS_B: u32 = 1u;
const BIAS: u32 = 1u;
const ACCUMULATE: u32 = 1u;

const TILE_M: u32 = 8u;
const TILE_N: u32 = 8u;
const WG_X: u32 = 8u;
const WG_Y: u32 = 8u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> offsets: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  // Row tiles are numbered expert by expert; group E is the rows that belong to nobody.
  var tile = group.y * WG_Y + local.y;
  var expert = 0u;
  var first = offsets[0];
  var end = first;
  for (; expert <= E; expert++) {
    first = min(offsets[expert], R);
    end = R;
    if (expert < E) {
      end = min(offsets[expert + 1u], R);
    }
    let tiles = (end - first + TILE_M - 1u) / TILE_M;
    if (tile < tiles) {
      break;
    }
    tile -= tiles;
  }
  let quad0 = (group.x * WG_X + local.x) * (TILE_N / 4u);
  if (expert > E || quad0 >= N / 4u) {
    return;
  }
  let owner = min(expert, E - 1u);
  var row: array<u32, TILE_M>; // registers
  var bAt: array<u32, TILE_N>; // registers
  for (var i = 0u; i < TILE_M; i++) { // unroll
    row[i] = min(first + tile * TILE_M + i, end - 1u);
  }
  for (var j = 0u; j < TILE_N; j++) { // unroll
    let quad = min(quad0 + j / 4u, N / 4u - 1u);
    bAt[j] = owner * N * (K / 4u) + select(quad + (j % 4u) * (N / 4u), (quad * 4u + j % 4u) * (K / 4u), TRANS_B == 1u);
  }
  var acc: array<f32, TILE_M * TILE_N>; // registers
  let terms = select(K / 4u, 0u, expert == E);
  for (var k = 0u; k < terms; k++) {
    var left: array<vec4<f32>, TILE_M>; // registers
    var right: array<vec4<f32>, TILE_N>; // registers
    for (var i = 0u; i < TILE_M; i++) { // unroll
      left[i] = a[row[i] * (K / 4u) + k];
    }
    for (var j = 0u; j < TILE_N; j += 4u) { // unroll
      let r0 = b[bAt[j] + k * select(N, 1u, TRANS_B == 1u)];
      let r1 = b[bAt[j + 1u] + k * select(N, 1u, TRANS_B == 1u)];
      let r2 = b[bAt[j + 2u] + k * select(N, 1u, TRANS_B == 1u)];
      let r3 = b[bAt[j + 3u] + k * select(N, 1u, TRANS_B == 1u)];
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
  }
  // All of out is read before any of it is stored, because an edge is stored more than once.
  var result: array<vec4<f32>, TILE_M * TILE_N / 4u>; // registers
  for (var i = 0u; i < TILE_M; i++) { // unroll
    for (var j = 0u; j < TILE_N; j += 4u) { // unroll
      let quad = min(quad0 + j / 4u, N / 4u - 1u);
      var v = vec4(acc[i * TILE_N + j], acc[i * TILE_N + j + 1u], acc[i * TILE_N + j + 2u], acc[i * TILE_N + j + 3u]);
      if (BIAS == 1u) {
        v += select(bias[owner * (N / 4u) + quad], vec4(0.0), expert == E);
      }
      if (ACCUMULATE == 1u) {
        v += out[row[i] * (N / 4u) + quad];
      }
      result[(i * TILE_N + j) / 4u] = v;
    }
  }
  for (var i = 0u; i < TILE_M; i++) { // unroll
    for (var j = 0u; j < TILE_N; j += 4u) { // unroll
      out[row[i] * (N / 4u) + min(quad0 + j / 4u, N / 4u - 1u)] = result[(i * TILE_N + j) / 4u];
    }
  }
}
