// Spans of Q6_K: of half a block, sixteen neighbours out of each of its four runs of 32 weights.
//@template
//@import halves2
//@import half
struct Span {
  first: vec4<u32>,   // nibbles of runs 0 and 2
  second: vec4<u32>,  // of runs 1 and 3
  pairs: vec4<u32>,   // of all
  scales: vec4<u32>,  // of the block
  d: f32,
}

fn load_span(row: u32, n_in: u32, span: u32) -> Span {
  let n_blocks = n_in / 256u;
  let block = span / 4u;
  let side = (span & 3u) / 2u;
  let at = 4u * (span & 1u);
  let nibbles = row + block * 32u + side * 16u + at;
  return Span(quad(nibbles), quad(nibbles + 8u), quad(row + n_blocks * 32u + block * 16u + side * 8u + at),
              quad(row + n_blocks * 48u + block * 4u), half_of_block(row + n_blocks * 52u, block));
}

fn span_dot(span: Span, index: u32, x: array<vec4<u32>, 8>) -> f32 {
  let low = vec4(0x0f0f0f0fu);
  let high = vec4(0x30303030u);
  let sums = vec4(bytes_dot((span.first & low) | ((span.pairs << vec4(4u)) & high), 32.0h, x[0], x[1]),
                  bytes_dot((span.second & low) | ((span.pairs << vec4(2u)) & high), 32.0h, x[2], x[3]),
                  bytes_dot(((span.first >> vec4(4u)) & low) | (span.pairs & high), 32.0h, x[4], x[5]),
                  bytes_dot(((span.second >> vec4(4u)) & low) | ((span.pairs >> vec4(2u)) & high), 32.0h, x[6], x[7]));
  let words = select(span.scales.xy, span.scales.zw, (index & 2u) == 2u) << vec2(8u * (1u - (index & 1u)));
  let scales = vec4<i32>(vec4(words.x << 16u, words.x, words.y << 16u, words.y)) >> vec4(24u);
  return 256.0 * span.d * dot(vec4<f32>(scales), sums);
}

fn span_dots(a: Span, b: Span, span: u32) -> vec2<f32> {
  let at = input_at(span / 2u * 16u + 2u * (span & 1u));
  let x = array(inputs[at], inputs[at + 1u], inputs[at + 4u], inputs[at + 5u], inputs[at + 9u], inputs[at + 10u], inputs[at + 13u],
                inputs[at + 14u]);
  return vec2(span_dot(a, span, x), span_dot(b, span, x));
}
