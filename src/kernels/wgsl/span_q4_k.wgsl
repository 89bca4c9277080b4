// Spans of Q4_K: 32 bytes of nibbles, the low ones of one run of 32 weights and the high ones of the next.
//@template
//@import halves2
//@import scale_min
//@import rows
struct Span {
  header: vec4<u32>,
  first: vec4<u32>,   // bytes of weights 0 to 15 of both runs
  second: vec4<u32>,
}

fn load_span(row: u32, n_in: u32, span: u32) -> Span {
  let block = row + span / 4u * 9u * QUAD_STEP;
  let at = block + (1u + (span & 3u) * 2u) * QUAD_STEP;
  return Span(quad(block), quad(at), quad(at + QUAD_STEP));
}

// Sixteen weights of each run: x * q / 16 in f16, eight products to a sum.
fn nibbles_dot(bytes: vec4<u32>, x0: vec4<u32>, x1: vec4<u32>, y0: vec4<u32>, y1: vec4<u32>) -> vec2<f32> {
  let odd = bytes >> vec4(8u);
  let low_even = (bytes & vec4(0x000f000fu)) | vec4(0x54005400u);  // 64 + q / 16
  let low_odd = (odd & vec4(0x000f000fu)) | vec4(0x54005400u);
  let high_even = (bytes & vec4(0x00f000f0u)) | vec4(0x44004400u);  // 4 + q / 16
  let high_odd = (odd & vec4(0x00f000f0u)) | vec4(0x44004400u);
  return vec2(octets_dot(low_even, low_odd, 64.0h, x0, x1), octets_dot(high_even, high_odd, 4.0h, y0, y1));
}

fn span_dot(span: Span, index: u32, x: array<vec4<u32>, 8>, x_sums: vec2<f32>) -> f32 {
  let scales = scale_min_two(span.header, 2u * (index & 3u));
  let sums = nibbles_dot(span.first, x[0], x[1], x[4], x[5]) + nibbles_dot(span.second, x[2], x[3], x[6], x[7]);
  return 16.0 * (scales.x * sums.x + scales.z * sums.y) - (scales.y * x_sums.x + scales.w * x_sums.y);
}

fn span_dots(a: Span, b: Span, span: u32) -> vec2<f32> {
  let at = input_at(span * 8u);
  let x = array(inputs[at], inputs[at + 1u], inputs[at + 2u], inputs[at + 3u], inputs[at + 4u], inputs[at + 5u], inputs[at + 6u],
                inputs[at + 7u]);
  let x_sums = vec2(dot(input_sums[2u * span], vec4(1.0)), dot(input_sums[2u * span + 1u], vec4(1.0)));
  return vec2(span_dot(a, span, x, x_sums), span_dot(b, span, x, x_sums));
}
