// out[r, OUT_COL + c] = x[r, X_COL + c] for c < COLS; one thread per element.

const R: u32 = 1u;
const COLS: u32 = 1u;
const X_WIDTH: u32 = 1u;
const X_COL: u32 = 0u;
const OUT_WIDTH: u32 = 1u;
const OUT_COL: u32 = 0u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= R * COLS) { return; }
  let r = i / COLS;
  let c = i % COLS;
  out[r * OUT_WIDTH + OUT_COL + c] = x[r * X_WIDTH + X_COL + c];
}
