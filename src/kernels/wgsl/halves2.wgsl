// Products in f16, two at a time. Inputs are octets whose words are the elements 0 and 2, 1 and 3, 4 and 6, 5 and 7; so are weights
// that are masked out of words of bytes without moving them: even bytes of a word are elements 0 and 2, odd ones 1 and 3.
fn halves_at(word: u32) -> vec2<f16> { return bitcast<vec2<f16>>(word); }

// Sixteen weights, even and odd ones of four words, each `zero` too large, times their inputs: eight products to each sum in f16.
fn octets_dot(even: vec4<u32>, odd: vec4<u32>, zero: f16, x0: vec4<u32>, x1: vec4<u32>) -> f32 {
  let z = vec2<f16>(zero);
  var sum = (halves_at(even.x) - z) * halves_at(x0.x);
  sum = fma(halves_at(odd.x) - z, halves_at(x0.y), sum);
  sum = fma(halves_at(even.y) - z, halves_at(x0.z), sum);
  sum = fma(halves_at(odd.y) - z, halves_at(x0.w), sum);
  sum = fma(halves_at(even.z) - z, halves_at(x1.x), sum);
  sum = fma(halves_at(odd.z) - z, halves_at(x1.y), sum);
  sum = fma(halves_at(even.w) - z, halves_at(x1.z), sum);
  sum = fma(halves_at(odd.w) - z, halves_at(x1.w), sum);
  return f32(sum.x) + f32(sum.y);
}

// The same of bytes up to 255, (byte - zero) / 256.
fn bytes_dot(bytes: vec4<u32>, zero: f16, x0: vec4<u32>, x1: vec4<u32>) -> f32 {
  let even = (bytes & vec4(0x00ff00ffu)) | vec4(0x44004400u);
  let odd = ((bytes >> vec4(8u)) & vec4(0x00ff00ffu)) | vec4(0x44004400u);
  return octets_dot(even, odd, 4.0h + zero / 256.0h, x0, x1);
}
