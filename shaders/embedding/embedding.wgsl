// out[r, :] = table[ids[r] - V_START, :], or zeros where ids[r] is not among the V_ROWS rows held here.
// LANES columns per thread; needs C divisible by LANES.

const R: u32 = 1u;
const C: u32 = 1u;
const V_START: u32 = 0u;
const V_ROWS: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = C / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<Value>;
@group(0) @binding(2) var<storage, read_write> out: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= R * WIDTH) { return; }
  // An id below V_START wraps to a large number and is rejected with the ids above the end.
  let entry = ids[i / WIDTH] - V_START;
  if (entry < V_ROWS) {
    out[i] = table[entry * WIDTH + i % WIDTH];
  } else {
    out[i] = Value(0.0);
  }
}
