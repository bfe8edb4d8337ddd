// out [OUTER, COLS, ROWS] = x [OUTER, ROWS, COLS] with the two last dimensions swapped (INNER is 1).
// One 4 x 4 tile per thread, turned in registers; needs ROWS and COLS divisible by 4.

const OUTER: u32 = 1u;
const ROWS: u32 = 4u;
const COLS: u32 = 4u;
const INNER: u32 = 1u;

const WG: u32 = 64u;
const ROW_TILES: u32 = ROWS / 4u;
const COL_TILES: u32 = COLS / 4u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * WG + lane;
  if (i >= OUTER * ROW_TILES * COL_TILES) { return; }
  let column = i % COL_TILES;
  let row = i / COL_TILES % ROW_TILES;
  let outer = i / (COL_TILES * ROW_TILES);
  let from_at = (outer * ROWS + row * 4u) * COL_TILES + column;
  let turned = transpose(mat4x4<f32>(
    x[from_at], x[from_at + COL_TILES],
    x[from_at + 2u * COL_TILES], x[from_at + 3u * COL_TILES],
  ));
  let to_at = (outer * COLS + column * 4u) * ROW_TILES + row;
  out[to_at] = turned[0];
  out[to_at + ROW_TILES] = turned[1];
  out[to_at + 2u * ROW_TILES] = turned[2];
  out[to_at + 3u * ROW_TILES] = turned[3];
}
