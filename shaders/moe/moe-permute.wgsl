// Stable counting sort of A assignments by expert, without atomics: one thread per expert reads all of `index`, first
// to count what comes before its own, then to place its own in order. Thread E places what belongs to no expert (index
// >= E): nowhere.

const A: u32 = 1u;
const E: u32 = 1u;

const WG: u32 = 16u;
const NONE: u32 = 0xffffffffu;

@group(0) @binding(0) var<storage, read> index: array<u32>;
@group(0) @binding(1) var<storage, read_write> offsets: array<u32>;
@group(0) @binding(2) var<storage, read_write> slotOf: array<u32>;
@group(0) @binding(3) var<storage, read_write> source: array<u32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let e = (group.y * groups.x + group.x) * WG + lane;
  if (e > E) { return; }
  var row = 0u;
  for (var a = 0u; a < A; a++) {
    row += select(0u, 1u, index[a] < e);
  }
  offsets[e] = row;
  for (var a = 0u; a < A; a++) {
    if (min(index[a], E) == e) {
      slotOf[a] = select(row, NONE, e == E);
      source[row] = select(a, NONE, e == E);
      row++;
    }
  }
}
