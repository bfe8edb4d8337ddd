// out[r] = 1/2 sum over c of (x[r, c] - y[r, c])^2; one thread per row.

const R: u32 = 1u;
const C: u32 = 1u;

const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let r = (group.y * groups.x + group.x) * WG + lane;
  if (r >= R) { return; }
  var sum = 0.0;
  for (var c = 0u; c < C; c++) {
    let d = x[r * C + c] - y[r * C + c];
    sum += d * d;
  }
  out[r] = 0.5 * sum;
}
