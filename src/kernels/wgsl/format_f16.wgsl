// Weight rows of f16: n_in values, padded with zeros to a multiple of 8. Subnormal weights (below 6e-5) may be flushed.
//@import octet
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let at = row + k / 2u;
  return Octet(vec4(unpack2x16float(weights[at]), unpack2x16float(weights[at + 1u])),
               vec4(unpack2x16float(weights[at + 2u]), unpack2x16float(weights[at + 3u])));
}
