// out = epilogue(SCALE * op(a) op(b)) with tiles of both matrices in workgroup memory: the kernel for real GPUs, where
// a barrier is cheap and memory is far. Needs N, K (and M if TRANS_A) divisible by 4; the scalar twin is
// matmul-shared.wgsl. A workgroup of WG_X x WG_Y threads computes WG_Y TILE_M rows by WG_X TILE_N columns; a thread
// owns quads of rows WG_Y quads apart and quads of columns WG_X quads apart, so that neighbours read neighbouring words
// of a tile. Tile a holds quads of terms per row, tile b quads of columns per term; layouts that lie the other way are
// turned in blocks of 4 x 4 on their way in. Terms past K are zero, rows and columns past the edge repeat the last one
// and are not stored.

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
const TERMS: u32 = 16u;
const WG_X: u32 = 16u;
const WG_Y: u32 = 16u;
const THREADS: u32 = WG_X * WG_Y;
const HEIGHT: u32 = WG_Y * TILE_M;
const WIDTH: u32 = WG_X * TILE_N;
const TERM_QUADS: u32 = TERMS / 4u;
const WIDTH_QUADS: u32 = WIDTH / 4u;
const QUADS: u32 = TILE_N / 4u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

// What a tile is stored in; sums are always f32.
alias scalar = f32;

var<workgroup> left: array<vec4<scalar>, HEIGHT * TERM_QUADS>;
var<workgroup> right: array<vec4<scalar>, TERMS * WIDTH_QUADS>;

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

// Four terms, k to k + 3, of a row of op(a) stored [M, K], or four rows of a term stored [K, M].
fn quadOfA(batch: u32, line: u32, place: u32) -> vec4<f32> {
  if (TRANS_A == 1u) {
    return select(
      a[batch * (A_BATCH / 4u) + min(line, K - 1u) * (M / 4u) + min(place, M / 4u - 1u)],
      vec4<f32>(0.0),
      line >= K,
    );
  } else {
    return select(
      a[batch * (A_BATCH / 4u) + min(line, M - 1u) * (K / 4u) + min(place, K / 4u - 1u)],
      vec4<f32>(0.0),
      place >= K / 4u,
    );
  }
}

// Four columns of a term of op(b) stored [K, N], or four terms of a column stored [N, K].
fn quadOfB(batch: u32, line: u32, place: u32) -> vec4<f32> {
  if (TRANS_B == 1u) {
    return select(
      b[batch * (B_BATCH / 4u) + min(line, N - 1u) * (K / 4u) + min(place, K / 4u - 1u)],
      vec4<f32>(0.0),
      place >= K / 4u,
    );
  } else {
    return select(
      b[batch * (B_BATCH / 4u) + min(line, K - 1u) * (N / 4u) + min(place, N / 4u - 1u)],
      vec4<f32>(0.0),
      line >= K,
    );
  }
}

@compute @workgroup_size(WG_X, WG_Y, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let row0 = group.y * HEIGHT;
  let quad0 = group.x * WIDTH_QUADS;
  for (var batch = group.z; batch < BATCH; batch += 65535u) {
    var acc: array<vec4<f32>, TILE_M * QUADS>; // registers
    for (var k = 0u; k < K; k += TERMS) {
      if (TRANS_A == 1u) {
        for (var block = thread; block < HEIGHT * TERMS / 16u; block += THREADS) {
          let place = block % (HEIGHT / 4u);
          let term = block / (HEIGHT / 4u);
          let x = transpose(mat4x4<f32>(
            quadOfA(batch, k + 4u * term, row0 / 4u + place), quadOfA(batch, k + 4u * term + 1u, row0 / 4u + place),
            quadOfA(batch, k + 4u * term + 2u, row0 / 4u + place),
            quadOfA(batch, k + 4u * term + 3u, row0 / 4u + place)));
          for (var i = 0u; i < 4u; i++) { // unroll
            left[(4u * place + i) * TERM_QUADS + term] = vec4<scalar>(x[i]);
          }
        }
      } else {
        for (var block = thread; block < HEIGHT * TERM_QUADS; block += THREADS) {
          left[block / TERM_QUADS * TERM_QUADS + block % TERM_QUADS] =
            vec4<scalar>(quadOfA(batch, row0 + block / TERM_QUADS, k / 4u + block % TERM_QUADS));
        }
      }
      if (TRANS_B == 1u) {
        for (var block = thread; block < TERM_QUADS * WIDTH_QUADS; block += THREADS) {
          let place = block % TERM_QUADS;
          let column = block / TERM_QUADS;
          let x = transpose(mat4x4<f32>(
            quadOfB(batch, 4u * (quad0 + column), k / 4u + place),
            quadOfB(batch, 4u * (quad0 + column) + 1u, k / 4u + place),
            quadOfB(batch, 4u * (quad0 + column) + 2u, k / 4u + place),
            quadOfB(batch, 4u * (quad0 + column) + 3u, k / 4u + place)));
          for (var i = 0u; i < 4u; i++) { // unroll
            right[(4u * place + i) * WIDTH_QUADS + column] = vec4<scalar>(x[i]);
          }
        }
      } else {
        for (var block = thread; block < TERMS * WIDTH_QUADS; block += THREADS) {
          right[block] = vec4<scalar>(quadOfB(batch, k + block / WIDTH_QUADS, quad0 + block % WIDTH_QUADS));
        }
      }
      workgroupBarrier();
      for (var term = 0u; term < TERM_QUADS; term++) {
        var x: array<vec4<f32>, TILE_M>; // registers
        for (var i = 0u; i < TILE_M; i++) { // unroll
          x[i] = vec4<f32>(left[((i / 4u * WG_Y + local.y) * 4u + i % 4u) * TERM_QUADS + term]);
        }
        for (var s = 0u; s < 4u; s++) { // unroll
          var y: array<vec4<f32>, QUADS>; // registers
          for (var j = 0u; j < QUADS; j++) { // unroll
            y[j] = vec4<f32>(right[(4u * term + s) * WIDTH_QUADS + j * WG_X + local.x]);
          }
          for (var i = 0u; i < TILE_M; i++) { // unroll
            for (var j = 0u; j < QUADS; j++) { // unroll
              acc[i * QUADS + j] += x[i][s] * y[j];
            }
          }
        }
      }
      workgroupBarrier();
    }
    for (var i = 0u; i < TILE_M; i++) { // unroll
      let row = row0 + (i / 4u * WG_Y + local.y) * 4u + i % 4u;
      for (var j = 0u; j < QUADS; j++) { // unroll
        store(batch, row, quad0 + j * WG_X + local.x, SCALE * acc[i * QUADS + j]);
      }
    }
  }
}

fn store(batch: u32, row: u32, quad: u32, sum: vec4<f32>) {
  if ((row >= M) | (quad >= N / 4u)) {
    return;
  }
  let at = (batch * M + row) * (N / 4u) + quad;
  var v = sum;
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
