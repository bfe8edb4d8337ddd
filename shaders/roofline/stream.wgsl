// out = a, SCALE a, a + b or a + SCALE b (KIND 0 to 3); QUADS runs of four elements per thread. Needs N divisible by 4.
// Places at or beyond the end repeat the last one: they write the same value again.

const N: u32 = 4u;
const KIND: u32 = 3u;
const SCALE: f32 = 3.0;
const QUADS: u32 = 1u;

const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

fn value(i: u32) -> vec4<f32> {
  var x = a[i];
  if (KIND == 1u) { x = SCALE * x; }
  if (KIND == 2u) { x += b[i]; }
  if (KIND == 3u) { x += SCALE * b[i]; }
  return x;
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = (group.y * groups.x + group.x) * WG * QUADS + lane;
  if (first >= N / 4u) { return; }
  for (var q: u32 = 0u; q < QUADS; q++) { // unroll
    let i = min(first + q * WG, N / 4u - 1u);
    out[i] = value(i);
  }
}
