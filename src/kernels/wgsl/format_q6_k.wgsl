// Weight rows of Q6_K in planes, each over all of the row's n blocks of 256 weights: 128 n bytes of low nibbles, 64 n
// bytes of high bit pairs, 16 n signed scales, n f16 d. w = d * scale * (q - 32).
// A block's two halves of 128 weights lie one after another in each plane; within a half, weight 32 j + i has its nibble
// in byte i + 32 (j & 1), low for j < 2, and its bit pair j in byte i.
//@import codes
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let n_blocks = n_in / 256u;
  let block = k / 256u;
  let side = (k & 255u) / 128u;
  let quarter = (k & 127u) / 32u;
  let octet = (k & 31u) / 4u;
  let nibbles = bits8(row + block * 32u + side * 16u + (quarter & 1u) * 8u + octet, 4u * (quarter / 2u), 0x0f0f0f0fu);
  let pairs = bits8(row + n_blocks * 32u + block * 16u + side * 8u + octet, 2u * quarter, 0x03030303u);
  let run = (k & 255u) / 16u;
  let scale = i32(weights[row + n_blocks * 48u + block * 4u + run / 4u] << (24u - 8u * (run & 3u))) >> 24u;
  let d = half_of_block(row + n_blocks * 52u, block) * f32(scale);
  return affine8(nibbles | (pairs << vec2(4u)), d, -32.0 * d);
}
