// Rotary position embedding: pair (x1, x2) of row r becomes (x1 cos - x2 sin, x2 cos + x1 sin), angles from row r % T
// of the tables. Pairs are (i, i + ROTARY_DIM / 2), the half layout. INVERSE turns back, which is also the gradient.
// Four pairs per thread, or four copied elements of the rest of a head; needs the half layout and ROTARY_DIM / 2 and HD
// divisible by 4.

const R: u32 = 1u;
const T: u32 = 1u;
const HEADS: u32 = 1u;
const ROTARY_HEADS: u32 = 1u;
const HD: u32 = 8u;
const ROTARY_DIM: u32 = 8u;
const INTERLEAVED: u32 = 0u;
const INVERSE: u32 = 0u;

const WG: u32 = 64u;
const PAIRS: u32 = ROTARY_DIM / 8u;
const HEAD_WIDTH: u32 = HD / 4u;
const SLOTS: u32 = HEAD_WIDTH - PAIRS;
alias Value = vec4<f32>;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> cos: array<Value>;
@group(0) @binding(2) var<storage, read> sin: array<Value>;
@group(0) @binding(3) var<storage, read_write> out: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= R * HEADS * SLOTS) { return; }
  let slot = i % SLOTS;
  let head = i / SLOTS % HEADS;
  let row = i / (SLOTS * HEADS);
  let start = (row * HEADS + head) * HEAD_WIDTH;
  if (slot >= PAIRS) {
    out[start + PAIRS + slot] = x[start + PAIRS + slot];
    return;
  }
  let first = start + slot;
  let second = first + PAIRS;
  let x1 = x[first];
  let x2 = x[second];
  if (head >= ROTARY_HEADS) {
    out[first] = x1;
    out[second] = x2;
    return;
  }
  let at = row % T * PAIRS + slot;
  let c = cos[at];
  let s = select(sin[at], -sin[at], INVERSE == 1u);
  out[first] = x1 * c - x2 * s;
  out[second] = x2 * c + x1 * s;
}
