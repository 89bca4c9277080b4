// Lots of Q4_K: the low and the high nibbles of sixteen bytes, half of each of two neighbouring runs of 32 weights.
//@import lot_pairs
//@import scale_min
struct Lot {
  header: vec4<u32>,
  nibbles: vec4<u32>,
  run: u32,
}

fn load_lot(row: u32, n_in: u32, lot: u32) -> Lot {
  let block = row + lot / 8u * 36u;
  return Lot(quad(block), quad(block + 4u + (lot & 7u) * 4u), lot & 6u);
}

fn lot_k(lot: u32, i: u32) -> u32 { return lot / 2u * 64u + (lot & 1u) * 16u + (i & 2u) * 16u + (i & 1u) * 8u; }

fn decode_lot(lot: Lot) -> array<vec4<u32>, 4> {
  let scales = scale_min_two(lot.header, lot.run);
  let even = lot.nibbles;
  let odd = even >> vec4(8u);
  let steps = 16.0 * scales.xz;
  let middles = 8.0 * scales.xz - scales.yw;
  return array(affine_halves(low_halves(even.xy, odd.xy), 64.5h, steps.x, middles.x),
               affine_halves(low_halves(even.zw, odd.zw), 64.5h, steps.x, middles.x),
               affine_halves(high_halves(even.xy, odd.xy), 4.5h, steps.y, middles.y),
               affine_halves(high_halves(even.zw, odd.zw), 4.5h, steps.y, middles.y));
}
