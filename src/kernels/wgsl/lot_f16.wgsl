// Lots of F16: octets as they are, neighbours beside each other.
//@import half
alias Lot = vec4<u32>;

fn load_lot(row: u32, n_in: u32, lot: u32) -> Lot { return quad(row + min(lot * 8u, (n_in - 1u) & ~7u) / 2u); }

fn lot_k(lot: u32, i: u32) -> u32 { return lot * 8u; }

fn decode_lot(lot: Lot) -> array<vec4<u32>, 1> { return array(lot); }

fn lot_inputs(octet: vec4<u32>) -> vec4<u32> { return octet; }
