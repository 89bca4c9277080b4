// Lots of any format: units, their octets in f32 first.
//@import format
alias Lot = Unit;

fn load_lot(row: u32, n_in: u32, lot: u32) -> Lot { return load_unit(row, n_in, lot); }

fn lot_k(lot: u32, i: u32) -> u32 { return unit_k(lot, i); }

fn halves_of(values: Octet) -> vec4<u32> {
  return vec4(pack2x16float(values.low.xy), pack2x16float(values.low.zw), pack2x16float(values.high.xy),
              pack2x16float(values.high.zw));
}

fn decode_lot(lot: Lot) -> array<vec4<u32>, 4> {
  return array(halves_of(unit_octet(lot, 0u)), halves_of(unit_octet(lot, 1u)), halves_of(unit_octet(lot, 2u)),
               halves_of(unit_octet(lot, 3u)));
}

fn lot_inputs(octet: vec4<u32>) -> vec4<u32> { return octet; }
