// Weight rows of f32: n_in values, padded with zeros to a multiple of 8.
//@template
//@import octet
//@import half
//@import format_octets
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  return Octet(bitcast<vec4<f32>>(quad(row + k)), bitcast<vec4<f32>>(quad(row + k + 4u)));
}
