// delta[b,h,t] = sum_d out[b,h,t,d] dOut[b,h,t,d], the row sums that both attention backward kernels subtract. One row
// per thread. Needs DV, O_OFF and strides divisible by LANES. Source: Dao 2023, arXiv 2307.08691, algorithm 2, line 4.

const B: u32 = 1u;
const HQ: u32 = 1u;
const TQ: u32 = 1u;
const DV: u32 = 4u;
const O_OFF: u32 = 0u;
const O_B: u32 = 4u;
const O_H: u32 = 4u;
const O_T: u32 = 4u;
const LANES: u32 = 1u;
const WG: u32 = 32u;
alias Value = f32;

@group(0) @binding(0) var<storage, read> out: array<Value>;
@group(0) @binding(1) var<storage, read> dOut: array<Value>;
@group(0) @binding(2) var<storage, read_write> delta: array<f32>;

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
  let id = (group.y * groups.x + group.x) * WG + lane;
  if (id >= B * HQ * TQ) { return; }
  let row = (O_OFF + id / (HQ * TQ) * O_B + id / TQ % HQ * O_H + id % TQ * O_T) / LANES;
  var sum = 0.0;
  for (var d = 0u; d < DV / LANES; d++) {
    sum += inner(out[row + d], dOut[row + d]);
  }
  delta[id] = sum;
}
