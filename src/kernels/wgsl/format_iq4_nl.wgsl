// Weight rows of IQ4_NL: blocks of 32 weights in four words of nibbles, then the f16 scales d of all blocks.
// w = d * value of q.
//@template
//@import codes
//@import iq4
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  return iq4_octet(nibbles8(row + (k / 32u) * 4u, k), half_of_block(row + n_in / 8u, k / 32u));
}

struct Unit {
  nibbles: vec4<u32>,
  d: f32,
}

fn load_unit(row: u32, n_in: u32, unit: u32) -> Unit {
  return Unit(quad(row + unit * 4u), half_of_block(row + n_in / 8u, unit));
}

fn unit_octet(unit: Unit, i: u32) -> Octet { return iq4_octet(nibbles_of(unit.nibbles, i), unit.d); }

fn unit_k(unit: u32, i: u32) -> u32 { return unit * 32u + 8u * i; }
