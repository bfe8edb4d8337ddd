// out[c] = (ACCUMULATE: out[c] +) sum over r of x[r, c]; one thread per column, rows in order.

const R: u32 = 1u;
const C: u32 = 1u;
const ACCUMULATE: u32 = 0u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x * 32u + lane;
  if (c >= C) { return; }
  var sum = 0.0;
  for (var r = 0u; r < R; r++) { sum += x[r * C + c]; }
  if (ACCUMULATE == 1u) { sum += out[c]; }
  out[c] = sum;
}
