// out [OUTER, COLS, ROWS, INNER] = x [OUTER, ROWS, COLS, INNER] with the two middle dimensions swapped.
// LANES inner elements per thread; needs INNER divisible by LANES.

const OUTER: u32 = 1u;
const ROWS: u32 = 1u;
const COLS: u32 = 1u;
const INNER: u32 = 1u;

const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = INNER / LANES;
alias Value = f32;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> out: array<Value>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= OUTER * ROWS * COLS * WIDTH) { return; }
  let inner = i % WIDTH;
  let row = i / WIDTH % ROWS;
  let column = i / (WIDTH * ROWS) % COLS;
  let outer = i / (WIDTH * ROWS * COLS);
  out[i] = x[((outer * ROWS + row) * COLS + column) * WIDTH + inner];
}
