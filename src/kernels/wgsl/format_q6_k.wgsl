// Weight rows of Q6_K in planes, each over all of the row's n blocks of 256 weights: 128 n bytes of low nibbles, 64 n
// bytes of high bit pairs, 16 n signed scales, n f16 d. w = d * scale * (q - 32).
// A block's two halves of 128 weights lie one after another in each plane; within a half, weight 32 j + i has its nibble
// in byte i + 32 (j & 1), low for j < 2, and its bit pair j in byte i.
//@import octet
//@import half
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let n_blocks = n_in / 256u;
  let block = k / 256u;
  let side = (k & 255u) / 128u;
  let quarter = (k & 127u) / 32u;
  let i = k & 31u;
  let low_at = row + block * 32u + side * 16u + (quarter & 1u) * 8u + i / 4u;
  let pair_at = row + n_blocks * 32u + block * 16u + side * 8u + i / 4u;
  let scale_at = row + n_blocks * 48u + block * 4u + side * 2u + quarter / 2u;
  let d_at = row + n_blocks * 52u + block / 2u;
  let scale_byte = ((quarter & 1u) * 2u + i / 16u) * 8u;
  let scale = f32(i32(weights[scale_at] << (24u - scale_byte)) >> 24u);
  let d = half_at(weights[d_at], (block & 1u) == 1u) * scale;
  let nibble_shift = 4u * (quarter / 2u);
  let pair_shift = 2u * quarter;
  let q_low = ((weights[low_at] >> nibble_shift) & 0x0f0f0f0fu) | (((weights[pair_at] >> pair_shift) & 0x03030303u) << 4u);
  let q_high = ((weights[low_at + 1u] >> nibble_shift) & 0x0f0f0f0fu) | (((weights[pair_at + 1u] >> pair_shift) & 0x03030303u) << 4u);
  return Octet(d * (vec4<f32>(unpack4xU8(q_low)) - 32.0), d * (vec4<f32>(unpack4xU8(q_high)) - 32.0));
}
