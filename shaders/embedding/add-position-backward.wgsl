// dTable[POS_START + t, :] += the sum of dOut[r, :] over the rows r = t, t + T, t + 2T, ...
// LANES columns of one position per thread; needs C divisible by LANES.

const R: u32 = 1u;
const C: u32 = 1u;
const T: u32 = 1u;
const POS_START: u32 = 0u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = C / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> dOut: array<Value>;
@group(0) @binding(1) var<storage, read_write> dTable: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= min(T, R) * WIDTH) { return; }
  var sum = Value(0.0);
  for (var at = i; at < R * WIDTH; at += T * WIDTH) { sum += dOut[at]; }
  dTable[POS_START * WIDTH + i] += sum;
}
