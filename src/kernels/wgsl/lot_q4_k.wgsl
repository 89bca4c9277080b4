// Lots of Q4_K: the low and the high nibbles of sixteen bytes, half of each of two neighbouring runs of 32 weights.
//@import lot_k
//@import rows
struct Lot {
  header: vec4<u32>,
  nibbles: vec4<u32>,
  run: u32,
}

fn load_lot(row: u32, n_in: u32, lot: u32) -> Lot {
  let block = row + lot / 8u * 9u * QUAD_STEP;
  return Lot(quad(block), quad(block + (1u + (lot & 7u)) * QUAD_STEP), lot & 6u);
}

fn lot_k(lot: u32, i: u32) -> u32 { return lot / 2u * 64u + (lot & 1u) * 16u + (i & 2u) * 16u + (i & 1u) * 8u; }

fn decode_lot(lot: Lot) -> array<vec4<u32>, 4> {
  let even = lot.nibbles;
  let odd = even >> vec4(8u);
  let runs = run_scales(lot.header, lot.run, 8.0);
  let zeros = halves_of_pair(vec2(256.0, 16.0) + runs.middle / 4.0);
  return array(affine_halves(scaled_halves(low_halves(even.xy, odd.xy), zeros.x, runs.scale.x), runs.d, runs.offset.x),
               affine_halves(scaled_halves(low_halves(even.zw, odd.zw), zeros.x, runs.scale.x), runs.d, runs.offset.x),
               affine_halves(scaled_halves(high_halves(even.xy, odd.xy), zeros.y, runs.scale.y), runs.d, runs.offset.y),
               affine_halves(scaled_halves(high_halves(even.zw, odd.zw), zeros.y, runs.scale.y), runs.d, runs.offset.y));
}
