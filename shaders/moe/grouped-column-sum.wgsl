// out[e, C] (+)= sum over the rows of expert e of x [R, C]; one column per thread.

const R: u32 = 1u;
const C: u32 = 1u;
const E: u32 = 1u;
const ACCUMULATE: u32 = 1u;

const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> offsets: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= E * C) { return; }
  let e = i / C;
  let c = i % C;
  let end = min(offsets[e + 1u], R);
  var sum = 0.0;
  for (var r = offsets[e]; r < end; r++) {
    sum += x[r * C + c];
  }
  if (ACCUMULATE == 1u) {
    sum += out[i];
  }
  out[i] = sum;
}
