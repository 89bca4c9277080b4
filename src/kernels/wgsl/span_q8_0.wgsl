// Spans of Q8_0: two blocks of 32 signed bytes.
//@template
//@import halves2
//@import half
struct Span {
  codes: array<vec4<u32>, 4>,
  d: vec2<f32>,
}

fn load_span(row: u32, n_in: u32, span: u32) -> Span {
  let at = row + span * 16u;
  return Span(array(quad(at), quad(at + 4u), quad(at + 8u), quad(at + 12u)), halves(word(row + n_in / 4u + span)));
}

fn block_dot(a: vec4<u32>, b: vec4<u32>, x: array<vec4<u32>, 4>) -> f32 {
  let flip = vec4(0x80808080u);
  return bytes_dot(a ^ flip, 128.0h, x[0], x[1]) + bytes_dot(b ^ flip, 128.0h, x[2], x[3]);
}

fn span_dots(a: Span, b: Span, span: u32) -> vec2<f32> {
  let at = input_at(span * 8u);
  let x = array(inputs[at], inputs[at + 1u], inputs[at + 2u], inputs[at + 3u]);
  let y = array(inputs[at + 4u], inputs[at + 5u], inputs[at + 6u], inputs[at + 7u]);
  return 256.0 * vec2(a.d.x * block_dot(a.codes[0], a.codes[1], x) + a.d.y * block_dot(a.codes[2], a.codes[3], y),
                      b.d.x * block_dot(b.codes[0], b.codes[1], x) + b.d.y * block_dot(b.codes[2], b.codes[3], y));
}
