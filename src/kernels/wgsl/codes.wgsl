// What formats of small integer codes share. Eight codes are one in each byte of two words.
//@import octet
//@import half

// Of eight bytes from word `at` on, the bits of `mask` after a shift to the right.
fn bits8(at: u32, shift: u32, mask: u32) -> vec2<u32> {
  return (vec2(word(at), word(at + 1u)) >> vec2(shift)) & vec2(mask);
}

// Codes of four bits: 32 weights from word `at` on, weight i in the low nibble of byte i, i + 16 in the high one. Those of
// weights k to k + 7.
fn nibbles8(at: u32, k: u32) -> vec2<u32> { return bits8(at + (k & 8u) / 4u, (k & 16u) / 4u, 0x0f0f0f0fu); }

// Of sixteen bytes that hold two nibbles each, the eight of octet i: low ones of either half, then high ones.
fn nibbles_of(bytes: vec4<u32>, i: u32) -> vec2<u32> {
  return (select(bytes.xy, bytes.zw, (i & 1u) == 1u) >> vec2(2u * (i & 2u))) & vec2(0x0f0f0f0fu);
}

// Codes of five bits: the fifth ones of 32 weights in word `at`, weight i's in bit i, then the nibbles.
fn five_bits8(at: u32, k: u32) -> vec2<u32> {
  let fifth = word(at) >> (k & 31u);
  // The product puts bit i at 8 i, and others where the mask has none.
  let spread = ((vec2(fifth, fifth >> 4u) & vec2(15u)) * 0x00204081u) & vec2(0x01010101u);
  return nibbles8(at + 1u, k) | (spread << vec2(4u));
}

// w = scale * q + offset. Products of scales and codes are exact in f32, so it does not matter whether this is fused.
fn affine8(codes: vec2<u32>, scale: f32, offset: f32) -> Octet {
  return Octet(scale * unsigned_bytes(codes.x) + offset, scale * unsigned_bytes(codes.y) + offset);
}
