// Weight rows of f32: n_in values, padded with zeros to a multiple of 8.
//@import octet
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let at = row + k;
  return Octet(
    vec4(bitcast<f32>(weights[at]), bitcast<f32>(weights[at + 1u]), bitcast<f32>(weights[at + 2u]), bitcast<f32>(weights[at + 3u])),
    vec4(bitcast<f32>(weights[at + 4u]), bitcast<f32>(weights[at + 5u]), bitcast<f32>(weights[at + 6u]), bitcast<f32>(weights[at + 7u])));
}
