// Weight rows of Q4_K as in the file: blocks of 256 weights in 36 words: scales and minima, 128 bytes of nibbles (low
// nibbles: even runs of 32 weights, high: odd ones). w = d * scale * q - dmin * minimum.
//@import codes
//@import scale_min
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let block = row + (k / 256u) * 36u;
  let run = (k & 255u) / 32u;
  let scales = scale_min(block, run);
  let codes = bits8(block + 4u + (run / 2u) * 8u + (k & 31u) / 4u, 4u * (run & 1u), 0x0f0f0f0fu);
  return affine8(codes, scales.x, -scales.y);
}
