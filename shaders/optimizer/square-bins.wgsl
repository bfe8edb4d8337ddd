// The exact sum of squares of x [N], given as the bits of f32, as integers: see square-bins.ts. Thread p adds the quads
// p, p + PARTS, ... and writes 11 words: its top bin, whole parts of the sums in bins top, top - 1, top - 2, top - 3,
// fractions of the same in units of 2^-23, the largest |x| and |w| as bits. Everything after the squares is integer
// arithmetic, which no compiler reorders to another result. Needs N divisible by 4.

const N: u32 = 4u;
const GROUP: u32 = 4u;
const PARTS: u32 = 1u;

const WG: u32 = 32u;
const COUNT: u32 = N / 4u;
// Turns until fractions carry: 4 times 128 numbers below 2^23.
const TURNS: u32 = 128u;
const FRACTION: u32 = 0x7fffffu;

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> bins: array<u32>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let p = (group.y * groups.x + group.x) * WG + lane;
  if (p >= PARTS) { return; }
  let place = vec4<u32>(0u, 1u, 2u, 3u);
  var top = 0u;
  var most = 0u;
  var weights = vec4<u32>(0u);
  var whole = vec4<u32>(0u);
  var fraction = vec4<u32>(0u);
  for (var first = p; first < COUNT; first += PARTS * TURNS) {
    for (var i = first; i < min(first + PARTS * TURNS, COUNT); i += PARTS) {
      let quad = x[i];
      weights = max(weights, w[i] & vec4<u32>(0x7fffffffu));
      for (var one = 0u; one < 4u; one += GROUP) {
        var bits = quad;
        if (GROUP == 1u) { bits = select(vec4<u32>(0u), quad, place == vec4<u32>(one)); }
        let size = bits & vec4<u32>(0x7fffffffu);
        let largest = max(max(size.x, size.y), max(size.z, size.w));
        most = max(most, largest);
        let exponent = largest >> 23u;
        let bin = exponent / 8u;
        while (top < bin && exponent < 255u) {
          top++;
          whole = vec4<u32>(0u, whole.xyz);
          fraction = vec4<u32>(0u, fraction.xyz);
        }
        // The largest of y is from 1 to 2^8, the sum from 1 to 2^18.
        let y = bitcast<vec4<f32>>(size) * bitcast<f32>((254u - 8u * min(bin, 31u)) << 23u);
        let sum = bitcast<u32>((y.x * y.x + y.y * y.y) + (y.z * y.z + y.w * y.w));
        let shift = min((sum >> 23u) - 127u, 23u);
        let mantissa = (sum & FRACTION) | 0x800000u;
        let counts = (vec4<u32>(top - bin) == place) & vec4<bool>((exponent > 0u) & (exponent < 255u));
        whole += select(vec4<u32>(0u), vec4<u32>(mantissa >> (23u - shift)), counts);
        fraction += select(vec4<u32>(0u), vec4<u32>((mantissa << shift) & FRACTION), counts);
      }
    }
    whole += fraction >> vec4<u32>(23u);
    fraction &= vec4<u32>(FRACTION);
  }
  let at = 11u * p;
  bins[at] = top;
  bins[at + 1u] = whole.x;
  bins[at + 2u] = whole.y;
  bins[at + 3u] = whole.z;
  bins[at + 4u] = whole.w;
  bins[at + 5u] = fraction.x;
  bins[at + 6u] = fraction.y;
  bins[at + 7u] = fraction.z;
  bins[at + 8u] = fraction.w;
  bins[at + 9u] = most;
  bins[at + 10u] = max(max(weights.x, weights.y), max(weights.z, weights.w));
}
