// Weight rows of IQ4_XS as in the file: blocks of 256 weights in 34 words: f16 d, eight high bit pairs and eight low
// nibbles of the scales, then each run of 32 weights in four words of nibbles. w = d * (scale - 32) * value of q.
//@template
//@import codes
//@import iq4
//@import format_octets
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let block = row + (k / 256u) * 34u;
  let run = (k & 255u) / 32u;
  let first = word(block);
  let scale = ((word(block + 1u) >> (4u * run)) & 15u) | (((first >> (16u + 2u * run)) & 3u) << 4u);
  return iq4_octet(nibbles8(block + 2u + 4u * run, k), halves(first).x * (f32(scale) - 32.0));
}
