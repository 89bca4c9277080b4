// Weight rows of Q8_0 in planes: n_in signed bytes, then one f16 scale per 32 of them. w = scale * q.
//@import octet
//@import half
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let block = k / 32u;
  let scale = half_at(weights[row + n_in / 4u + block / 2u], (block & 1u) == 1u);
  let at = row + k / 4u;
  return Octet(scale * signed_bytes(weights[at]), scale * signed_bytes(weights[at + 1u]));
}
