// One f16 of a packed word as f32, exact for subnormal numbers too: the scales of K-quants often are, and
// unpack2x16float may flush them.
fn half_at(word: u32, high: bool) -> f32 {
  let bits = select(word & 0xffffu, word >> 16u, high);
  let magnitude = bits & 0x7fffu;
  let normal = bitcast<f32>((magnitude << 13u) + 0x38000000u);
  let subnormal = f32(magnitude) * 0x1p-24f;
  let value = select(normal, subnormal, magnitude < 0x0400u);
  return select(value, -value, bits >= 0x8000u);
}
