// Weight rows of Q4_0: blocks of 32 weights in four words of nibbles, then the f16 scales d of all blocks. w = d * (q - 8).
//@template
//@import codes
//@import format_codes
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let d = half_of_block(row + n_in / 8u, k / 32u);
  return affine8(nibbles8(row + (k / 32u) * 4u, k), d, -8.0 * d);
}

struct Unit {
  nibbles: vec4<u32>,
  d: f32,
}

fn load_unit(row: u32, n_in: u32, unit: u32) -> Unit {
  return Unit(quad(row + unit * 4u), half_of_block(row + n_in / 8u, unit));
}

fn unit_codes(unit: Unit, h: u32) -> vec4<u32> { return (unit.nibbles >> vec4(4u * h)) & vec4(0x0f0f0f0fu); }

fn unit_affine(unit: Unit, h: u32) -> vec2<f32> { return vec2(unit.d, -8.0 * unit.d); }

fn unit_k(unit: u32, i: u32) -> u32 { return unit * 32u + 8u * i; }
