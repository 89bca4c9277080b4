// Spans of any format: two units, their octets in f32.
//@template
//@import format
struct Span {
  a: Unit,
  b: Unit,
}

fn load_span(row: u32, n_in: u32, span: u32) -> Span {
  return Span(load_unit(row, n_in, 2u * span), load_unit(row, n_in, 2u * span + 1u));
}

fn span_dots(a: Span, b: Span, span: u32) -> vec2<f32> {
  var sums = vec2<f32>();
  //@repeat O UNIT_OCTETS
  {
    let x = octet_of_input(unit_k(2u * span, $Ou) / 8u);
    sums += vec2(dot8(unit_octet(a.a, $Ou), x), dot8(unit_octet(b.a, $Ou), x));
    let y = octet_of_input(unit_k(2u * span + 1u, $Ou) / 8u);
    sums += vec2(dot8(unit_octet(a.b, $Ou), y), dot8(unit_octet(b.b, $Ou), y));
  }
  //@end
  return sums;
}
