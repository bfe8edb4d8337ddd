// dGates[n, k] = dot(dOut[n, :], y[slotOf[n, k], :]), 0 where slotOf is 0xffffffff; one thread per (n, k). Needs C
// divisible by LANES.

const N: u32 = 1u;
const C: u32 = 1u;
const K: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = C / LANES;
const NONE: u32 = 0xffffffffu;
alias Value = f32;

@group(0) @binding(0) var<storage, read> dOut: array<Value>;
@group(0) @binding(1) var<storage, read> y: array<Value>;
@group(0) @binding(2) var<storage, read> slotOf: array<u32>;
@group(0) @binding(3) var<storage, read_write> dGates: array<f32>;

fn inner(a: Value, b: Value) -> f32 {
  let x = vec4<f32>(a);
  let y = vec4<f32>(b);
  if (LANES == 1u) { return x.x * y.x; }
  return dot(x, y);
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let a = (group.y * groups.x + group.x) * WG + lane;
  if (a >= N * K) { return; }
  let slot = slotOf[a];
  let row = select(0u, slot, slot != NONE);
  var sum = 0.0;
  for (var c = 0u; c < WIDTH; c++) {
    sum += inner(dOut[(a / K) * WIDTH + c], y[row * WIDTH + c]);
  }
  dGates[a] = select(0.0, sum, slot != NONE);
}
