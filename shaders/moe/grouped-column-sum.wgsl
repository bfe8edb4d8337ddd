// out[e, C] (+)= sum over the rows of expert e of x [R, C]; LANES columns per thread. Needs C divisible by LANES.

const R: u32 = 1u;
const C: u32 = 1u;
const E: u32 = 1u;
const ACCUMULATE: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = C / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> offsets: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= E * WIDTH) { return; }
  let e = i / WIDTH;
  let c = i % WIDTH;
  let end = min(offsets[e + 1u], R);
  var sum = Value(0.0);
  for (var r = offsets[e]; r < end; r++) {
    sum += x[r * WIDTH + c];
  }
  if (ACCUMULATE == 1u) {
    sum += out[i];
  }
  out[i] = sum;
}
