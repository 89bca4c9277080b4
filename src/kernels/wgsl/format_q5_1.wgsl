// Weight rows of Q5_1 as in the file: blocks of 32 weights in six words: f16 d and m, fifth bits, nibbles. w = d * q + m.
//@template
//@import codes
//@import format_octets
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let block = row + (k / 32u) * 6u;
  let d_m = halves(word(block));
  return affine8(five_bits8(block + 1u, k), d_m.x, d_m.y);
}
