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
