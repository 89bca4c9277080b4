// Weight rows of Q4_0: blocks of 32 weights in four words of nibbles, then the f16 scales d of all blocks. w = d * (q - 8).
//@import codes
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let d = half_of_block(row + n_in / 8u, k / 32u);
  return affine8(nibbles8(row + (k / 32u) * 4u, k), d, -8.0 * d);
}
