// Weight rows of bf16: n_in values, padded with zeros to a multiple of 8.
//@template
//@import octet
//@import half
//@import format_octets
fn decode_bf16(word: u32) -> vec2<f32> { return vec2(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u)); }

fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let words = quad(row + k / 2u);
  return Octet(vec4(decode_bf16(words.x), decode_bf16(words.y)), vec4(decode_bf16(words.z), decode_bf16(words.w)));
}
