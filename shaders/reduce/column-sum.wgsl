// out[C] (+)= sum over rows of x [R, C]; LANES columns per thread. Needs C divisible by LANES.

const R: u32 = 1u;
const C: u32 = 1u;
const ACCUMULATE: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = C / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> out: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let c = (group.y * groups.x + group.x) * WG + lane;
  if (c >= WIDTH) { return; }
  // Four partial sums: shorter chains of dependent additions, and less rounding.
  var s0 = Value(0.0);
  var s1 = Value(0.0);
  var s2 = Value(0.0);
  var s3 = Value(0.0);
  var r = 0u;
  for (; r + 3u < R; r += 4u) {
    s0 += x[r * WIDTH + c];
    s1 += x[(r + 1u) * WIDTH + c];
    s2 += x[(r + 2u) * WIDTH + c];
    s3 += x[(r + 3u) * WIDTH + c];
  }
  for (; r < R; r++) {
    s0 += x[r * WIDTH + c];
  }
  var sum = (s0 + s1) + (s2 + s3);
  if (ACCUMULATE == 1u) {
    sum += out[c];
  }
  out[c] = sum;
}
