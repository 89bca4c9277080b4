// Weight rows of Q3_K: blocks of 256 weights in 27 words: 32 bytes of third bits, 64 of bit pairs, 12 of sixteen 6-bit
// scales; then the f16 d of all blocks. w = d * (scale - 32) * (q - 4).
// Weight 32 j + i has its third bit in bit j of byte i, and its pair as in Q2_K.
//@template
//@import codes
//@import format_octets
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let block = row + (k / 256u) * 27u;
  let run = (k & 255u) / 16u;
  let octet = (k & 31u) / 4u;
  let pairs = bits8(block + 8u + (run / 8u) * 8u + octet, run & 6u, 0x03030303u);
  let third = bits8(block + octet, run / 2u, 0x01010101u);
  // Run j of 16 weights: nibble j / 8 of byte j % 8, and above it bits 2 (j / 4) of byte 8 + j % 4.
  let byte = 8u * (run & 3u);
  let scale_low = (word(block + 24u + (run & 4u) / 4u) >> (byte + (run & 8u) / 2u)) & 15u;
  let scale_high = (word(block + 26u) >> (byte + (run & 12u) / 2u)) & 3u;
  let d = half_of_block(row + (n_in / 256u) * 27u, k / 256u) * (f32(scale_low | (scale_high << 4u)) - 32.0);
  return affine8(pairs | (third << vec2(2u)), d, -4.0 * d);
}
