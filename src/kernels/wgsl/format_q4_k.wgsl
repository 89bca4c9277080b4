// Weight rows of Q4_K as in the file: blocks of 256 weights in 36 words: f16 d and dmin, eight 6-bit scales and eight
// 6-bit minima in 12 bytes, 128 bytes of nibbles (low nibbles: even runs of 32 weights, high: odd ones).
// w = d * scale * q - dmin * minimum.
//@import octet
//@import half
fn decode_q4_k_byte(base: u32, index: u32) -> u32 { return (weights[base + index / 4u] >> (8u * (index & 3u))) & 0xffu; }

fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let block = row + (k / 256u) * 36u;
  let run = (k & 255u) / 32u;
  // Runs 0-3: low six bits of bytes run and run + 4. Runs 4-7: low or high nibble of byte run + 4 below the two high bits
  // of bytes run - 4 and run.
  let first = decode_q4_k_byte(block + 1u, run & 3u);
  let second = decode_q4_k_byte(block + 1u, 4u + (run & 3u));
  let third = decode_q4_k_byte(block + 1u, 8u + (run & 3u));
  let upper = run >= 4u;
  let scale = select(first & 63u, (third & 15u) | ((first >> 6u) << 4u), upper);
  let minimum = select(second & 63u, (third >> 4u) | ((second >> 6u) << 4u), upper);
  let d = half_at(weights[block], false) * f32(scale);
  let m = half_at(weights[block], true) * f32(minimum);
  let at = block + 4u + (run / 2u) * 8u + (k & 31u) / 4u;
  let shift = 4u * (run & 1u);
  let low = vec4<f32>(unpack4xU8((weights[at] >> shift) & 0x0f0f0f0fu));
  let high = vec4<f32>(unpack4xU8((weights[at + 1u] >> shift) & 0x0f0f0f0fu));
  return Octet(d * low - m, d * high - m);
}
