// Units of formats that are read eight weights at a time.
//@template
//@import octet
alias Unit = array<Octet, 4>;

fn load_unit(row: u32, n_in: u32, unit: u32) -> Unit {
  var octets: Unit;
  for (var i = 0u; i < 4u; i++) {
    let k = unit_k(unit, i);
    if (k < n_in) {
      octets[i] = decode8(row, n_in, k);
    }
  }
  return octets;
}

fn unit_octet(unit: Unit, i: u32) -> Octet {
  var octets = unit;
  return octets[i];
}

// Neighbours read neighbouring octets.
fn unit_k(unit: u32, i: u32) -> u32 { return unit / 2u * 64u + 16u * i + 8u * (unit & 1u); }
