// partials[p] = the sum of x[i], or of x[i]^2 (SQUARE), over the groups of four elements p, p + PARTS, ...; the host
// adds the partials in f64. One partial per thread; needs N divisible by 4.

const N: u32 = 4u;
const SQUARE: u32 = 1u;
const PARTS: u32 = 1u;

const WG: u32 = 32u;
const COUNT: u32 = N / 4u;
alias Value = vec4<f32>;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let p = (group.y * groups.x + group.x) * WG + lane;
  if (p >= PARTS) { return; }
  var sum = Value(0.0);
  for (var i = p; i < COUNT; i += PARTS) {
    let v = x[i];
    sum += select(v, v * v, SQUARE == 1u);
  }
  partials[p] = (sum.x + sum.y) + (sum.z + sum.w);
}
