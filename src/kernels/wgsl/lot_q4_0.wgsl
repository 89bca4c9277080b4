// Lots of Q4_0: blocks of 32 nibbles.
//@import lot_pairs
struct Lot {
  nibbles: vec4<u32>,
  d: u32,  // in the low half
}

fn load_lot(row: u32, n_in: u32, lot: u32) -> Lot {
  return Lot(quad(row + lot * 4u), word(row + n_in / 8u + lot / 2u) >> (16u * (lot & 1u)));
}

fn lot_k(lot: u32, i: u32) -> u32 { return lot * 32u + 8u * i; }

fn decode_lot(lot: Lot) -> array<vec4<u32>, 4> {
  let d = 4.0h * halves_of_word(lot.d).x;
  let even = lot.nibbles;
  let odd = even >> vec4(8u);
  return array(scaled_halves(low_halves(even.xy, odd.xy), 258.0h, d), scaled_halves(low_halves(even.zw, odd.zw), 258.0h, d),
               scaled_halves(high_halves(even.xy, odd.xy), 18.0h, d), scaled_halves(high_halves(even.zw, odd.zw), 18.0h, d));
}
