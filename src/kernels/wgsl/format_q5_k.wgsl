// Weight rows of Q5_K as in the file: blocks of 256 weights in 44 words: scales and minima, 32 bytes of fifth bits (weight
// 32 j + i: bit j of byte i), nibbles as in Q4_K. w = d * scale * q - dmin * minimum.
//@import codes
//@import scale_min
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let block = row + (k / 256u) * 44u;
  let run = (k & 255u) / 32u;
  let octet = (k & 31u) / 4u;
  let scales = scale_min(block, run);
  let fifth = bits8(block + 4u + octet, run, 0x01010101u);
  let nibbles = bits8(block + 12u + (run / 2u) * 8u + octet, 4u * (run & 1u), 0x0f0f0f0fu);
  return affine8(nibbles | (fifth << vec2(4u)), scales.x, -scales.y);
}
