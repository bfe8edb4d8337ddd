// dGateUp = [dOut up silu'(gate), dOut silu(gate)], with s = 1 / (1 + e), e = exp(-gate), 1 - s = e s without
// cancellation. LANES columns of one row per thread; needs F divisible by LANES.

const R: u32 = 1u;
const F: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = F / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> gateUp: array<Value>;
@group(0) @binding(1) var<storage, read> dOut: array<Value>;
@group(0) @binding(2) var<storage, read_write> dGateUp: array<Value>;

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
  let d = dOut[i];
  let e = exp(min(-gate, Value(80.0)));
  let s = 1.0 / (1.0 + e);
  dGateUp[gateAt] = d * up * (s * (1.0 + gate * (e * s)));
  dGateUp[gateAt + WIDTH] = d * gate * s;
}
