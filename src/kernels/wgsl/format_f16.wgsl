// Weight rows of f16: n_in values, padded with zeros to a multiple of 8. Subnormal weights (below 6e-5) may be flushed.
//@template
//@import octet
//@import half
alias Unit = array<vec4<u32>, 4>;

fn octet_of_halves(halves: vec4<u32>) -> Octet {
  return Octet(vec4(unpack2x16float(halves.x), unpack2x16float(halves.y)), vec4(unpack2x16float(halves.z), unpack2x16float(halves.w)));
}

fn decode8(row: u32, n_in: u32, k: u32) -> Octet { return octet_of_halves(quad(row + k / 2u)); }

fn load_unit(row: u32, n_in: u32, unit: u32) -> Unit {
  var quads: Unit;
  for (var i = 0u; i < 4u; i++) {
    let k = unit_k(unit, i);
    if (k < n_in) {
      quads[i] = quad(row + k / 2u);
    }
  }
  return quads;
}

fn unit_octet(unit: Unit, i: u32) -> Octet {
  var quads = unit;
  return octet_of_halves(quads[i]);
}

// Neighbours read neighbouring octets.
fn unit_k(unit: u32, i: u32) -> u32 { return unit / 2u * 64u + 16u * i + 8u * (unit & 1u); }
