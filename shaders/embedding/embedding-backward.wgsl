// dTable[id - V_START, :] += the sum of dOut[r, :] over all r with ids[r] = id, for the ids of the V_ROWS rows held
// here. The thread of an id's first occurrence walks its list (see embedding-links.wgsl): no atomics, a fixed order of
// addition. LANES columns of one position per thread; needs C divisible by LANES.

const R: u32 = 1u;
const C: u32 = 1u;
const V_START: u32 = 0u;
const V_ROWS: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = C / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> next: array<u32>;
@group(0) @binding(2) var<storage, read> dOut: array<Value>;
@group(0) @binding(3) var<storage, read_write> dTable: array<Value>;

const FIRST: u32 = 0x80000000u;
const NONE: u32 = 0x7fffffffu;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= R * WIDTH) { return; }
  let column = i % WIDTH;
  var link = next[i / WIDTH];
  let entry = ids[i / WIDTH] - V_START; // wraps for ids below V_START
  if (link < FIRST || entry >= V_ROWS) { return; }
  var sum = dOut[i];
  for (var row = link & NONE; row < R; row = next[row] & NONE) { sum += dOut[row * WIDTH + column]; }
  dTable[entry * WIDTH + column] += sum;
}
