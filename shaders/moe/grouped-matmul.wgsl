// out[r, :] (+)= a[r, :] op(b[e]) + bias[e] for the rows r of each expert e, any sizes; a tile of rows never crosses an
// expert's edge. As in matmul, an edge repeats the last row or column and stores it again with the same value.

const R: u32 = 1u;
const N: u32 = 1u;
const K: u32 = 1u;
const E: u32 = 1u;
const TRANS_B: u32 = 1u;
const BIAS: u32 = 1u;
const ACCUMULATE: u32 = 1u;

const TILE_M: u32 = 4u;
const TILE_N: u32 = 4u;
const WG_X: u32 = 8u;
const WG_Y: u32 = 8u;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> offsets: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

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
  let col0 = (group.x * WG_X + local.x) * TILE_N;
  if (expert > E || col0 >= N) {
    return;
  }
  let owner = min(expert, E - 1u);
  var row: array<u32, TILE_M>; // registers
  var col: array<u32, TILE_N>; // registers
  for (var i = 0u; i < TILE_M; i++) { // unroll
    row[i] = min(first + tile * TILE_M + i, end - 1u);
  }
  for (var j = 0u; j < TILE_N; j++) { // unroll
    col[j] = min(col0 + j, N - 1u);
  }
  var acc: array<f32, TILE_M * TILE_N>; // registers
  let terms = select(K, 0u, expert == E);
  for (var k = 0u; k < terms; k++) {
    var x: array<f32, TILE_M>; // registers
    var y: array<f32, TILE_N>; // registers
    for (var i = 0u; i < TILE_M; i++) { // unroll
      x[i] = a[row[i] * K + k];
    }
    for (var j = 0u; j < TILE_N; j++) { // unroll
      y[j] = b[owner * N * K + select(k * N + col[j], col[j] * K + k, TRANS_B == 1u)];
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
      if (BIAS == 1u) {
        acc[i * TILE_N + j] += select(bias[owner * N + col[j]], 0.0, expert == E);
      }
      if (ACCUMULATE == 1u) {
        acc[i * TILE_N + j] += out[row[i] * N + col[j]];
      }
    }
  }
  for (var i = 0u; i < TILE_M; i++) { // unroll
    for (var j = 0u; j < TILE_N; j++) { // unroll
      out[row[i] * N + col[j]] = acc[i * TILE_N + j];
    }
  }
}
