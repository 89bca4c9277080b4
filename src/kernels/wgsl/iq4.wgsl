// The values of the sixteen codes of IQ4_NL and IQ4_XS: -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69,
// 89, 113. They lie on a smooth curve: a polynomial of degree four stays within 0.44 of each, so that rounding it gives
// exactly these, without a table that every invocation reads elsewhere.
//@import codes
fn iq4_values(codes: u32) -> vec4<f32> {
  let x = unsigned_bytes(codes) - 8.0;
  return round((((0.001586 * x + 0.08184) * x - 0.01681) * x + 11.4398) * x + 1.433);
}

fn iq4_octet(codes: vec2<u32>, scale: f32) -> Octet {
  return Octet(scale * iq4_values(codes.x), scale * iq4_values(codes.y));
}
