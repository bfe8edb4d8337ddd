// out[e, C] (+)= sum over the rows of expert e of x [R, C]; four columns per thread. Needs C divisible by 4.

const R: u32 = 1u;
const C: u32 = 4u;
const E: u32 = 1u;
const ACCUMULATE: u32 = 1u;

const WG: u32 = 16u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> offsets: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= E * (C / 4u)) { return; }
  let e = i / (C / 4u);
  let c = i % (C / 4u);
  let end = min(offsets[e + 1u], R);
  var sum = vec4(0.0);
  for (var r = offsets[e]; r < end; r++) {
    sum += x[r * (C / 4u) + c];
  }
  if (ACCUMULATE == 1u) {
    sum += out[i];
  }
  out[i] = sum;
}
