// Weight rows of Q2_K as in the file: blocks of 256 weights in 21 words: 16 bytes, for each run of 16 weights, of a scale
// (low nibble) and a minimum; 64 bytes of bit pairs; f16 d and dmin. w = d * scale * q - dmin * minimum.
// Of each half of 128 weights, weight 32 j + i has bits 2 j of byte i of the half's 32.
//@template
//@import codes
//@import format_octets
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let block = row + (k / 256u) * 21u;
  let run = (k & 255u) / 16u;
  let pairs = bits8(block + 4u + (run / 8u) * 8u + (k & 31u) / 4u, (run & 6u), 0x03030303u);
  let scales = word(block + run / 4u) >> (8u * (run & 3u));
  let d_dmin = halves(word(block + 20u));
  return affine8(pairs, d_dmin.x * f32(scales & 15u), -d_dmin.y * f32((scales >> 4u) & 15u));
}
