// Lots of Q8_0: blocks of 32 signed bytes.
//@import lot_pairs
struct Lot {
  first: vec4<u32>,
  second: vec4<u32>,
  d: u32,  // in the low half
}

fn load_lot(row: u32, n_in: u32, lot: u32) -> Lot {
  let at = row + lot * 8u;
  return Lot(quad(at), quad(at + 4u), word(row + n_in / 4u + lot / 2u) >> (16u * (lot & 1u)));
}

fn lot_k(lot: u32, i: u32) -> u32 { return lot * 32u + 8u * i; }

// 64 + (code + 128) / 16.
fn signed_halves(bytes: vec2<u32>) -> vec4<u32> {
  let flipped = bytes ^ vec2(0x80808080u);
  let even = (flipped & vec2(0x00ff00ffu)) | vec2(0x54005400u);
  let odd = ((flipped >> vec2(8u)) & vec2(0x00ff00ffu)) | vec2(0x54005400u);
  return vec4(even.x, odd.x, even.y, odd.y);
}

fn decode_lot(lot: Lot) -> array<vec4<u32>, 4> {
  let d = 16.0h * halves_of_word(lot.d).x;
  return array(scaled_halves(signed_halves(lot.first.xy), 72.0h, d), scaled_halves(signed_halves(lot.first.zw), 72.0h, d),
               scaled_halves(signed_halves(lot.second.xy), 72.0h, d), scaled_halves(signed_halves(lot.second.zw), 72.0h, d));
}
