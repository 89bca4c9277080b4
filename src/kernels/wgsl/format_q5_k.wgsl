// Weight rows of Q5_K: blocks of 256 weights in 44 words: scales and minima, 32 bytes of fifth bits (weight
// 32 j + i: bit j of byte i), nibbles as in Q4_K. w = d * scale * q - dmin * minimum.
//@template
//@import codes
//@import scale_min
//@import rows
//@import format_codes
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let block = row + (k / 256u) * 11u * QUAD_STEP;
  let run = (k & 255u) / 32u;
  let octet = (k & 31u) / 4u;
  let scales = scale_min(block, run);
  let fifth = bits8(block + word_of_row(4u + octet), run, 0x01010101u);
  let nibbles = bits8(block + word_of_row(12u + (run / 2u) * 8u + octet), 4u * (run & 1u), 0x0f0f0f0fu);
  return affine8(nibbles | (fifth << vec2(4u)), scales.x, -scales.y);
}

struct Unit {
  nibbles: vec4<u32>,
  fifths: vec4<u32>,  // shifted: the low ones' in bit 0 of each byte, the high ones' in bit 1
  scales: vec4<f32>,  // and minima, of the low and the high ones
}

fn load_unit(row: u32, n_in: u32, unit: u32) -> Unit {
  let block = row + unit / 8u * 11u * QUAD_STEP;
  let run = unit & 6u;
  let header = quad(block);
  return Unit(quad(block + (3u + (unit & 7u)) * QUAD_STEP), quad(block + (1u + (unit & 1u)) * QUAD_STEP) >> vec4(run),
              scale_min_two(header, run));
}

fn unit_codes(unit: Unit, h: u32) -> vec4<u32> {
  let fifths = (unit.fifths >> vec4(h)) & vec4(0x01010101u);
  return ((unit.nibbles >> vec4(4u * h)) & vec4(0x0f0f0f0fu)) | (fifths << vec4(4u));
}

fn unit_affine(unit: Unit, h: u32) -> vec2<f32> {
  return select(unit.scales.xy, unit.scales.zw, h == 1u) * vec2(1.0, -1.0);
}

// A unit: the low and the high nibbles of sixteen bytes, half of each of two neighbouring runs.
fn unit_k(unit: u32, i: u32) -> u32 { return unit / 2u * 64u + (unit & 1u) * 16u + (i & 2u) * 16u + (i & 1u) * 8u; }
