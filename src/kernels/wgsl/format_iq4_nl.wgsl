// Weight rows of IQ4_NL: blocks of 32 weights in four words of nibbles, then the f16 scales d of all blocks.
// w = d * value of q.
//@import codes
//@import iq4
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  return iq4_octet(nibbles8(row + (k / 32u) * 4u, k), half_of_block(row + n_in / 8u, k / 32u));
}
