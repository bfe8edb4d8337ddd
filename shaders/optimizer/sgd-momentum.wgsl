// d = gradScale grad + weightDecay w; m <- d on the first step, momentum m + d later; w <- w - lr (d + momentum m):
// Nesterov's step. hyper is [lr, momentum, weightDecay, gradScale, 1 on the first step else 0].
// LANES weights per thread; needs N divisible by LANES.

const N: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const COUNT: u32 = N / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read_write> param: array<Value>;
@group(0) @binding(1) var<storage, read> grad: array<Value>;
@group(0) @binding(2) var<storage, read_write> m: array<Value>;
@group(0) @binding(3) var<storage, read> hyper: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= COUNT) { return; }
  let momentum = hyper[1];
  let w = param[i];
  let d = hyper[3] * grad[i] + hyper[2] * w;
  var velocity = d;
  if (hyper[4] == 0.0) { velocity += momentum * m[i]; }
  m[i] = velocity;
  param[i] = w - hyper[0] * (d + momentum * velocity);
}
