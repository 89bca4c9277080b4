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
  let d = 16.0 * halves(lot.d).x;
  let even = lot.nibbles;
  let odd = even >> vec4(8u);
  return array(affine_halves(low_halves(even.xy, odd.xy), 64.5h, d, 0.0), affine_halves(low_halves(even.zw, odd.zw), 64.5h, d, 0.0),
               affine_halves(high_halves(even.xy, odd.xy), 4.5h, d, 0.0), affine_halves(high_halves(even.zw, odd.zw), 4.5h, d, 0.0));
}
