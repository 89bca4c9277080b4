// Weight rows of Q8_0: n_in signed bytes, then the f16 scales d of all blocks of 32. w = d * q.
//@import octet
//@import half
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let d = half_of_block(row + n_in / 4u, k / 32u);
  let at = row + k / 4u;
  return Octet(d * signed_bytes(weights[at]), d * signed_bytes(weights[at + 1u]));
}
