// Weight rows of Q8_0: n_in signed bytes, then the f16 scales d of all blocks of 32. w = d * q.
//@template
//@import octet
//@import half
//@import format_codes
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let d = half_of_block(row + n_in / 4u, k / 32u);
  let at = row + k / 4u;
  return Octet(d * signed_bytes(word(at)), d * signed_bytes(word(at + 1u)));
}

struct Unit {
  codes: array<vec4<u32>, 2>,
  d: f32,
}

fn load_unit(row: u32, n_in: u32, unit: u32) -> Unit {
  let at = row + unit * 8u;
  return Unit(array(quad(at), quad(at + 4u)), half_of_block(row + n_in / 4u, unit));
}

fn unit_codes(unit: Unit, h: u32) -> vec4<u32> { return select(unit.codes[0], unit.codes[1], h == 1u); }

fn unit_affine(unit: Unit, h: u32) -> vec2<f32> { return vec2(unit.d, 0.0); }

fn unit_k(unit: u32, i: u32) -> u32 { return unit * 32u + 8u * i; }
