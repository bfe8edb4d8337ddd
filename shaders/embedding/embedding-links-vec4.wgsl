// Links equal ids of ids [R] into lists: the low 31 bits of next[i] are the next j > i with ids[j] = ids[i], or
// 0x7fffffff if there is none; the top bit is set where i is the first of its list. One thread per position compares
// four ids at a time; needs R divisible by 4.

const R: u32 = 4u;

const WG: u32 = 32u;
const FIRST: u32 = 0x80000000u;
const NONE: u32 = 0x7fffffffu;
const STEPS: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);

@group(0) @binding(0) var<storage, read> ids: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> next: array<u32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= R) { return; }
  let id = vec4<u32>(ids[i / 4u][i % 4u]);
  var after = NONE;
  for (var c = i / 4u; c < R / 4u && after == NONE; c++) {
    let at = 4u * c + STEPS;
    let hit = select(vec4<u32>(NONE), at, (ids[c] == id) & (at > vec4<u32>(i)));
    after = min(min(hit.x, hit.y), min(hit.z, hit.w));
  }
  var first = true;
  for (var c = 0u; 4u * c < i && first; c++) { first = !any((ids[c] == id) & (4u * c + STEPS < vec4<u32>(i))); }
  next[i] = after | select(0u, FIRST, first);
}
