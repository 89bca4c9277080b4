// Lots of Q5_K: as those of Q4_K, with fifth bits.
//@import lot_k
//@import rows
struct Lot {
  header: vec4<u32>,
  nibbles: vec4<u32>,
  fifths: vec4<u32>,
  run: u32,
}

fn load_lot(row: u32, n_in: u32, lot: u32) -> Lot {
  let block = row + lot / 8u * 11u * QUAD_STEP;
  return Lot(quad(block), quad(block + (3u + (lot & 7u)) * QUAD_STEP), quad(block + (1u + (lot & 1u)) * QUAD_STEP), lot & 6u);
}

fn lot_k(lot: u32, i: u32) -> u32 { return lot / 2u * 64u + (lot & 1u) * 16u + (i & 2u) * 16u + (i & 1u) * 8u; }

fn decode_lot(lot: Lot) -> array<vec4<u32>, 4> {
  let fifths = lot.fifths >> vec4(lot.run);
  let low = (lot.nibbles & vec4(0x0f0f0f0fu)) | ((fifths << vec4(4u)) & vec4(0x10101010u));
  let high = ((lot.nibbles >> vec4(4u)) & vec4(0x0f0f0f0fu)) | ((fifths << vec4(3u)) & vec4(0x10101010u));
  let runs = run_scales(lot.header, lot.run, 16.0);
  let zeros = halves_of_pair(vec2(256.0, 256.0) + runs.middle / 4.0);
  return array(affine_halves(scaled_halves(byte_halves(low.xy), zeros.x, runs.scale.x), runs.d, runs.offset.x),
               affine_halves(scaled_halves(byte_halves(low.zw), zeros.x, runs.scale.x), runs.d, runs.offset.x),
               affine_halves(scaled_halves(byte_halves(high.xy), zeros.y, runs.scale.y), runs.d, runs.offset.y),
               affine_halves(scaled_halves(byte_halves(high.zw), zeros.y, runs.scale.y), runs.d, runs.offset.y));
}
