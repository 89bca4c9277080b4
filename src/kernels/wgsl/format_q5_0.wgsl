// Weight rows of Q5_0: blocks of 32 weights in five words: fifth bits, nibbles; then the f16 scales d of all blocks.
// w = d * (q - 16).
//@template
//@import codes
//@import format_octets
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let d = half_of_block(row + (n_in / 32u) * 5u, k / 32u);
  return affine8(five_bits8(row + (k / 32u) * 5u, k), d, -16.0 * d);
}
