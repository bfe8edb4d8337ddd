// out[t] = sum of CHAINS quads after STEPS of x = a x + b, all in registers. Needs STEPS divisible by 4.

const THREADS: u32 = 1u;
const STEPS: u32 = 4u;
const CHAINS: u32 = 1u;

const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read> coefficients: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let t = (group.y * groups.x + group.x) * WG + lane;
  if (t >= THREADS) { return; }
  let a = coefficients[0];
  let b = coefficients[1];
  var x: array<vec4<f32>, CHAINS>; // registers
  for (var c: u32 = 0u; c < CHAINS; c++) { // unroll
    x[c] = (vec4<f32>(0.0, 1.0, 2.0, 3.0) + f32(t % 16u + c)) / 16.0;
  }
  for (var s: u32 = 0u; s < STEPS / 4u; s++) {
    for (var again: u32 = 0u; again < 4u; again++) { // unroll
      for (var c: u32 = 0u; c < CHAINS; c++) { // unroll
        x[c] = fma(x[c], a, b);
      }
    }
  }
  var sum = vec4<f32>(0.0);
  for (var c: u32 = 0u; c < CHAINS; c++) { // unroll
    sum += x[c];
  }
  out[t] = sum.x + sum.y + sum.z + sum.w;
}
