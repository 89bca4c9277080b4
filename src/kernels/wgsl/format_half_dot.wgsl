// Half of a unit times its inputs, for formats that give whole octets; those of codes have their own (format_codes.wgsl).
//@template
//@import octet
fn unit_half_dot(unit: Unit, h: u32, x0: Octet, x1: Octet, x_sum: f32) -> f32 {
  return dot8(unit_octet(unit, 2u * h), x0) + dot8(unit_octet(unit, 2u * h + 1u), x1);
}
