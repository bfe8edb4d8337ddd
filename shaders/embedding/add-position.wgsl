// out[r, :] = x[r, :] + table[POS_START + r % T, :] (+ residual[r, :]): rows are T positions of one sequence after
// another. LANES columns per thread; needs C divisible by LANES.

const R: u32 = 1u;
const C: u32 = 1u;
const T: u32 = 1u;
const POS_START: u32 = 0u;
const RESIDUAL: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = C / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> table: array<Value>;
@group(0) @binding(2) var<storage, read> residual: array<Value>;
@group(0) @binding(3) var<storage, read_write> out: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= R * WIDTH) { return; }
  let position = POS_START + i / WIDTH % T;
  var sum = x[i] + table[position * WIDTH + i % WIDTH];
  if (RESIDUAL == 1u) { sum += residual[i]; }
  out[i] = sum;
}
