// What lots of small codes share. Codes of bytes become f16 by masks, elements 0 and 2, 1 and 3, 4 and 6, 5 and 7 of an octet in a
// word (as in halves2.wgsl); inputs are put in the same order. A code about a middle, times its run's integer scale, is exact, or rounded
// where both are large; that times the block's d, plus what the middle leaves of the minimum, is rounded as an f16 is. Powers of two go
// from d to the codes, so that d is not subnormal and nothing overflows where weights do not. f16 are converted as words and in
// pairs: NVIDIA's cores convert single ones, and integers, at an eighth of their speed.
//@import half
fn lot_inputs(octet: vec4<u32>) -> vec4<u32> {
  let low = vec2(octet.x, octet.z);
  let high = vec2(octet.y, octet.w);
  let even = (low & vec2(0xffffu)) | (high << vec2(16u));
  let odd = (low >> vec2(16u)) | (high & vec2(0xffff0000u));
  return vec4(even.x, odd.x, even.y, odd.y);
}

fn halves_of_word(word: u32) -> vec2<f16> { return bitcast<vec2<f16>>(word); }

fn halves_of_pair(values: vec2<f32>) -> vec2<f16> { return bitcast<vec2<f16>>(pack2x16float(values)); }

// Octets of f16 that are `zero` too large, times `scale`.
fn scaled_halves(codes: vec4<u32>, zero: f16, scale: f16) -> vec4<u32> {
  let s = vec2<f16>(scale);
  let z = vec2<f16>(zero);
  return vec4(bitcast<u32>((halves_of_word(codes.x) - z) * s), bitcast<u32>((halves_of_word(codes.y) - z) * s),
              bitcast<u32>((halves_of_word(codes.z) - z) * s), bitcast<u32>((halves_of_word(codes.w) - z) * s));
}

// Of that, times `d`, plus `offset`.
fn affine_halves(codes: vec4<u32>, d: f16, offset: f16) -> vec4<u32> {
  let o = vec2<f16>(offset);
  let f = vec2<f16>(d);
  return vec4(bitcast<u32>(fma(halves_of_word(codes.x), f, o)), bitcast<u32>(fma(halves_of_word(codes.y), f, o)),
              bitcast<u32>(fma(halves_of_word(codes.z), f, o)), bitcast<u32>(fma(halves_of_word(codes.w), f, o)));
}

// Eight codes of at most six bits, one in each byte, as 256 + code / 4.
fn byte_halves(bytes: vec2<u32>) -> vec4<u32> {
  let even = (bytes & vec2(0x003f003fu)) | vec2(0x5c005c00u);
  let odd = ((bytes >> vec2(8u)) & vec2(0x003f003fu)) | vec2(0x5c005c00u);
  return vec4(even.x, odd.x, even.y, odd.y);
}

// Sixteen weights of nibbles, low ones or high ones: 256 + q / 4 or 16 + q / 4.
fn low_halves(even: vec2<u32>, odd: vec2<u32>) -> vec4<u32> {
  let e = (even & vec2(0x000f000fu)) | vec2(0x5c005c00u);
  let o = (odd & vec2(0x000f000fu)) | vec2(0x5c005c00u);
  return vec4(e.x, o.x, e.y, o.y);
}

fn high_halves(even: vec2<u32>, odd: vec2<u32>) -> vec4<u32> {
  let e = (even & vec2(0x00f000f0u)) | vec2(0x4c004c00u);
  let o = (odd & vec2(0x00f000f0u)) | vec2(0x4c004c00u);
  return vec4(e.x, o.x, e.y, o.y);
}
