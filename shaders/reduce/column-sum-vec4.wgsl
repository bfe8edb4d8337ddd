// out[C] (+)= sum over rows of x [R, C]; four columns per thread. Needs C divisible by 4.

const R: u32 = 1u;
const C: u32 = 4u;
const ACCUMULATE: u32 = 1u;

const WG: u32 = 16u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let c = (group.y * groups.x + group.x) * WG + lane;
  if (c >= C / 4u) { return; }
  // Four partial sums: shorter chains of dependent additions, and less rounding.
  var s0 = vec4(0.0);
  var s1 = vec4(0.0);
  var s2 = vec4(0.0);
  var s3 = vec4(0.0);
  var r = 0u;
  for (; r + 3u < R; r += 4u) {
    s0 += x[r * (C / 4u) + c];
    s1 += x[(r + 1u) * (C / 4u) + c];
    s2 += x[(r + 2u) * (C / 4u) + c];
    s3 += x[(r + 3u) * (C / 4u) + c];
  }
  for (; r < R; r++) {
    s0 += x[r * (C / 4u) + c];
  }
  var sum = (s0 + s1) + (s2 + s3);
  if (ACCUMULATE == 1u) {
    sum += out[c];
  }
  out[c] = sum;
}
