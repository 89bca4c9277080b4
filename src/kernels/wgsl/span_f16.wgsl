// Spans of f16: eight octets.
//@template
//@import halves2
//@import half
struct Span {
  octets: array<vec4<u32>, 8>,
}

fn load_span(row: u32, n_in: u32, span: u32) -> Span {
  let at = row + span * 32u;
  return Span(array(quad(at), quad(at + 4u), quad(at + 8u), quad(at + 12u), quad(at + 16u), quad(at + 20u), quad(at + 24u),
                    quad(at + 28u)));
}

// Eight weights times their inputs, four products to each sum in f16.
fn octet_dot(a: vec4<u32>, x: vec4<u32>) -> f32 {
  var sum = halves_at(a.x) * halves_at(x.x);
  sum = fma(halves_at(a.y), halves_at(x.y), sum);
  sum = fma(halves_at(a.z), halves_at(x.z), sum);
  sum = fma(halves_at(a.w), halves_at(x.w), sum);
  return f32(sum.x) + f32(sum.y);
}

fn span_dots(a: Span, b: Span, span: u32) -> vec2<f32> {
  let at = input_at(span * 8u);
  var sums = vec2<f32>();
  //@repeat O SPAN_OCTETS
  {
    let x = inputs[at + $Ou];
    sums += vec2(octet_dot(a.octets[$O], x), octet_dot(b.octets[$O], x));
  }
  //@end
  return sums;
}
