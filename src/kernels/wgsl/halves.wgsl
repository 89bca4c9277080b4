// The two f16 of a packed word as f32, exact for subnormal numbers too: the scales of K-quants often are, and
// unpack2x16float may flush them. Infinity and NaN stay what they are.
fn halves(word: u32) -> vec2<f32> {
  let bits = vec2(word & 0xffffu, word >> 16u);
  let magnitude = bits & vec2(0x7fffu);
  // Subnormal ones are made 2^-14 too large, where f32 has their bits as they are.
  let subnormal = magnitude < vec2(0x0400u);
  let bias = select(select(vec2(0x38000000u), vec2(0x70000000u), magnitude >= vec2(0x7c00u)), vec2(0x38800000u), subnormal);
  let value = bitcast<vec2<f32>>((magnitude << vec2(13u)) + bias) - select(vec2(0.0), vec2(0x1p-14f), subnormal);
  return bitcast<vec2<f32>>(bitcast<vec2<u32>>(value) | ((bits & vec2(0x8000u)) << vec2(16u)));
}
