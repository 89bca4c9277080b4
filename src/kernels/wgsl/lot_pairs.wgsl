// What lots of small codes share. Codes of bytes become f16 by masks, elements 0 and 2, 1 and 3, 4 and 6, 5 and 7 of an octet in a
// word (as in halves2.wgsl); inputs are put in the same order. Weights are rounded as f16 are: a code about the middle of its
// range times 16 and 1/16 of its scale (which is not subnormal where weights are not), plus what is left of the minimum.
//@import half
fn lot_inputs(octet: vec4<u32>) -> vec4<u32> {
  let low = vec2(octet.x, octet.z);
  let high = vec2(octet.y, octet.w);
  let even = (low & vec2(0xffffu)) | (high << vec2(16u));
  let odd = (low >> vec2(16u)) | (high & vec2(0xffff0000u));
  return vec4(even.x, odd.x, even.y, odd.y);
}

// Octets of f16 that are `zero` too large, times `scale`, plus `offset`.
fn affine_halves(codes: vec4<u32>, zero: f16, scale: f32, offset: f32) -> vec4<u32> {
  let s = vec2<f16>(f16(scale));
  let o = vec2<f16>(f16(offset));
  let z = vec2<f16>(zero);
  return vec4(bitcast<u32>(fma(bitcast<vec2<f16>>(codes.x) - z, s, o)), bitcast<u32>(fma(bitcast<vec2<f16>>(codes.y) - z, s, o)),
              bitcast<u32>(fma(bitcast<vec2<f16>>(codes.z) - z, s, o)), bitcast<u32>(fma(bitcast<vec2<f16>>(codes.w) - z, s, o)));
}

// Eight codes of at most six bits, one in each byte, as 64 + code / 16.
fn byte_halves(bytes: vec2<u32>) -> vec4<u32> {
  let even = (bytes & vec2(0x003f003fu)) | vec2(0x54005400u);
  let odd = ((bytes >> vec2(8u)) & vec2(0x003f003fu)) | vec2(0x54005400u);
  return vec4(even.x, odd.x, even.y, odd.y);
}

// Sixteen weights of nibbles, low ones or high ones: 64 + q / 16 or 4 + q / 16.
fn low_halves(even: vec2<u32>, odd: vec2<u32>) -> vec4<u32> {
  let e = (even & vec2(0x000f000fu)) | vec2(0x54005400u);
  let o = (odd & vec2(0x000f000fu)) | vec2(0x54005400u);
  return vec4(e.x, o.x, e.y, o.y);
}

fn high_halves(even: vec2<u32>, odd: vec2<u32>) -> vec4<u32> {
  let e = (even & vec2(0x00f000f0u)) | vec2(0x44004400u);
  let o = (odd & vec2(0x00f000f0u)) | vec2(0x44004400u);
  return vec4(e.x, o.x, e.y, o.y);
}
