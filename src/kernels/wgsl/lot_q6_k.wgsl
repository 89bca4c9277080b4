// Lots of Q6_K: sixteen neighbours out of each of two runs of 32 weights, whose nibbles are both low or both high.
//@import lot_pairs
struct Lot {
  first: vec4<u32>,   // nibbles of one run
  second: vec4<u32>,  // of the other
  pairs: vec4<u32>,
  scales: u32,        // of both, two bytes apart
  d: u32,             // in the low half
  late: u32,          // 1: high nibbles
}

fn load_lot(row: u32, n_in: u32, lot: u32) -> Lot {
  let n_blocks = n_in / 256u;
  let block = lot / 8u;
  let side = (lot & 4u) / 4u;
  let at = 4u * (lot & 1u);
  let nibbles = row + block * 32u + side * 16u + at;
  let d = word(row + n_blocks * 52u + block / 2u) >> (16u * (block & 1u));
  return Lot(quad(nibbles), quad(nibbles + 8u), quad(row + n_blocks * 32u + block * 16u + side * 8u + at),
             word(row + n_blocks * 48u + block * 4u + (lot & 7u) / 2u) >> (8u * (lot & 1u)), d, (lot & 2u) / 2u);
}

fn lot_k(lot: u32, i: u32) -> u32 { return lot / 2u * 64u + (lot & 1u) * 16u + (i & 2u) * 16u + (i & 1u) * 8u; }

fn decode_lot(lot: Lot) -> array<vec4<u32>, 4> {
  let d = 512.0h * halves_of_word(lot.d).x;
  let scales = halves_of_pair(vec2<f32>(vec2<i32>(vec2(lot.scales << 24u, lot.scales << 8u)) >> vec2(24u)) / 128.0);
  let shift = vec4(4u * lot.late);
  let pairs = lot.pairs >> shift;
  let first = ((lot.first >> shift) & vec4(0x0f0f0f0fu)) | ((pairs << vec4(4u)) & vec4(0x30303030u));
  let second = ((lot.second >> shift) & vec4(0x0f0f0f0fu)) | ((pairs << vec4(2u)) & vec4(0x30303030u));
  return array(affine_halves(scaled_halves(byte_halves(first.xy), 264.0h, scales.x), d, 0.0h),
               affine_halves(scaled_halves(byte_halves(first.zw), 264.0h, scales.x), d, 0.0h),
               affine_halves(scaled_halves(byte_halves(second.xy), 264.0h, scales.y), d, 0.0h),
               affine_halves(scaled_halves(byte_halves(second.zw), 264.0h, scales.y), d, 0.0h));
}
