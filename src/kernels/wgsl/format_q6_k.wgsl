// Weight rows of Q6_K in planes, each over all of the row's n blocks of 256 weights: 128 n bytes of low nibbles, 64 n
// bytes of high bit pairs, 16 n signed scales, n f16 d. w = d * scale * (q - 32).
// A block's two halves of 128 weights lie one after another in each plane; within a half, weight 32 j + i has its nibble
// in byte i + 32 (j & 1), low for j < 2, and its bit pair j in byte i.
//@template
//@import codes
//@import format_codes
fn decode8(row: u32, n_in: u32, k: u32) -> Octet {
  let n_blocks = n_in / 256u;
  let block = k / 256u;
  let side = (k & 255u) / 128u;
  let quarter = (k & 127u) / 32u;
  let octet = (k & 31u) / 4u;
  let nibbles = bits8(row + block * 32u + side * 16u + (quarter & 1u) * 8u + octet, 4u * (quarter / 2u), 0x0f0f0f0fu);
  let pairs = bits8(row + n_blocks * 32u + block * 16u + side * 8u + octet, 2u * quarter, 0x03030303u);
  let run = (k & 255u) / 16u;
  let scale = i32(word(row + n_blocks * 48u + block * 4u + run / 4u) << (24u - 8u * (run & 3u))) >> 24u;
  let d = half_of_block(row + n_blocks * 52u, block) * f32(scale);
  return affine8(nibbles | (pairs << vec2(4u)), d, -32.0 * d);
}

struct Unit {
  codes: array<vec4<u32>, 2>,
  scales: vec2<f32>,  // of each sixteen
}

fn load_unit(row: u32, n_in: u32, unit: u32) -> Unit {
  let n_blocks = n_in / 256u;
  let block = unit / 8u;
  let side = (unit & 7u) / 4u;
  let quarter = unit & 3u;
  let nibbles = row + block * 32u + side * 16u + (quarter & 1u) * 8u;
  let pairs = row + n_blocks * 32u + block * 16u + side * 8u;
  let scales = word(row + n_blocks * 48u + block * 4u + (unit & 7u) / 2u) >> (16u * (unit & 1u));
  let signed = vec2<i32>(vec2(scales << 24u, scales << 16u)) >> vec2(24u);
  return Unit(array(code_quad(nibbles, pairs, quarter), code_quad(nibbles + 4u, pairs + 4u, quarter)),
              half_of_block(row + n_blocks * 52u, block) * vec2<f32>(signed));
}

fn code_quad(nibbles: u32, pairs: u32, quarter: u32) -> vec4<u32> {
  let low = (quad(nibbles) >> vec4(4u * (quarter / 2u))) & vec4(0x0f0f0f0fu);
  return low | (((quad(pairs) >> vec4(2u * quarter)) & vec4(0x03030303u)) << vec4(4u));
}

fn unit_codes(unit: Unit, h: u32) -> vec4<u32> { return select(unit.codes[0], unit.codes[1], h == 1u); }

fn unit_affine(unit: Unit, h: u32) -> vec2<f32> {
  return select(unit.scales.x, unit.scales.y, h == 1u) * vec2(1.0, -32.0);
}

fn unit_k(unit: u32, i: u32) -> u32 { return unit * 32u + 8u * i; }
