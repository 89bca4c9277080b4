// What units of small integer codes share. Half h of a unit are the sixteen weights from unit_k(unit, 2 h) on:
//   fn unit_codes(unit: Unit, h: u32) -> vec4<u32>    their codes, signed bytes
//   fn unit_affine(unit: Unit, h: u32) -> vec2<f32>   what a code stands for: w = x * code + y
//@template
//@import octet
fn unit_octet(unit: Unit, i: u32) -> Octet {
  let codes = unit_codes(unit, i / 2u);
  let two = select(codes.xy, codes.zw, (i & 1u) == 1u);
  let affine = unit_affine(unit, i / 2u);
  return Octet(affine.x * signed_bytes(two.x) + affine.y, affine.x * signed_bytes(two.y) + affine.y);
}

// The bits of signed bytes as 1 + (byte + 128) / 256: no conversion, which GPUs do at a fraction of their speed.
fn shifted_bytes(word: u32) -> vec4<f32> {
  let bytes = word ^ 0x80808080u;
  return bitcast<vec4<f32>>((vec4(bytes << 15u, bytes << 7u, bytes >> 1u, bytes >> 9u) & vec4(0x007f8000u)) | vec4(0x3f800000u));
}

fn unit_half_dot(unit: Unit, h: u32, x0: Octet, x1: Octet, x_sum: f32) -> f32 {
  let codes = unit_codes(unit, h);
  let affine = unit_affine(unit, h);
  let sum = dot(shifted_bytes(codes.x), x0.low) + dot(shifted_bytes(codes.y), x0.high) +
            dot(shifted_bytes(codes.z), x1.low) + dot(shifted_bytes(codes.w), x1.high);
  return affine.x * (256.0 * sum - 384.0 * x_sum) + affine.y * x_sum;
}
