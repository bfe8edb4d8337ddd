// Links equal ids of ids [R] into lists: the low 31 bits of next[i] are the next j > i with ids[j] = ids[i], or
// 0x7fffffff if there is none; the top bit is set where i is the first of its list. One thread per position searches
// both ways until it meets its id.

const R: u32 = 1u;

const WG: u32 = 32u;
const FIRST: u32 = 0x80000000u;
const NONE: u32 = 0x7fffffffu;

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read_write> next: array<u32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= R) { return; }
  let id = ids[i];
  var after = i + 1u;
  while (after < R && ids[min(after, R - 1u)] != id) { after++; }
  var before = i;
  while (before > 0u && ids[max(before, 1u) - 1u] != id) { before--; }
  next[i] = select(NONE, after, after < R) | select(0u, FIRST, before == 0u);
}
