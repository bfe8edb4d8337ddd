// out[r, f] = silu(gateUp[r, f]) gateUp[r, F + f]. The exponent is clamped so that nothing overflows.
// LANES columns of one row per thread; needs F divisible by LANES.

const R: u32 = 1u;
const F: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = F / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> gateUp: array<Value>;
@group(0) @binding(1) var<storage, read_write> out: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= R * WIDTH) { return; }
  let gateAt = i / WIDTH * 2u * WIDTH + i % WIDTH;
  let gate = gateUp[gateAt];
  let up = gateUp[gateAt + WIDTH];
  out[i] = gate / (1.0 + exp(min(-gate, Value(80.0)))) * up;
}
