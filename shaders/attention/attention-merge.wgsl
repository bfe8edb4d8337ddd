// Merges the attention over one set of keys (partOut, partLse) into that over another (out, lse), in place: with w =
// exp(lse - max), out = (w out + w' out') / (w + w'), lse = max + log(w + w'). No exponent is positive, so nothing
// overflows; a side whose lse is -1e30 saw no key and has weight 0, and what lies in its out is ignored. One row per
// thread, because every thread of a row would read the lse that one of them writes.
// Needs DV, O_OFF and strides divisible by LANES. Source: Milakov and Gimelshein 2018, arXiv 1805.02867.

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

const NONE: f32 = -1e30;

@group(0) @binding(0) var<storage, read_write> out: array<Value>;
@group(0) @binding(1) var<storage, read_write> lse: array<f32>;
@group(0) @binding(2) var<storage, read> partOut: array<Value>;
@group(0) @binding(3) var<storage, read> partLse: array<f32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let id = (group.y * groups.x + group.x) * WG + lane;
  if (id >= B * HQ * TQ) { return; }
  let row = (O_OFF + id / (HQ * TQ) * O_B + id / TQ % HQ * O_H + id % TQ * O_T) / LANES;
  let mine = lse[id];
  let theirs = partLse[id];
  let none = max(mine, theirs) < 0.1 * NONE;
  let top = max(max(mine, theirs), 0.1 * NONE);
  let a = select(exp(max(mine - top, -100.0)), 0.0, mine < 0.1 * NONE);
  let b = select(exp(max(theirs - top, -100.0)), 0.0, theirs < 0.1 * NONE);
  let sum = select(a + b, 1.0, none);
  let wa = a / sum;
  let wb = b / sum;
  for (var d = 0u; d < DV / LANES; d++) {
    out[row + d] = select(out[row + d] * wa, Value(0.0), a == 0.0)
      + select(partOut[row + d] * wb, Value(0.0), b == 0.0);
  }
  lse[id] = select(top + log(sum), NONE, none);
}
