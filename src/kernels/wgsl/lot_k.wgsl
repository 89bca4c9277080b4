// What lots of Q4_K and Q5_K share: the scales of two runs of 32 weights.
//@import lot_pairs
//@import scale_min
struct RunScales {
  scale: vec2<f16>,   // of both runs, 1/128 of the integers
  d: f16,             // 512 times
  middle: vec2<f32>,  // a code of either run
  offset: vec2<f16>,  // what the middle stands for
}

// Codes are below 2 * half. The middle is one of three, so that what it leaves of a minimum is small, or all weights are larger.
fn run_scales(header: vec4<u32>, run: u32, half: f32) -> RunScales {
  let bytes = scale_min_bytes(header, run);
  // 2^23 and a code.
  let codes = bitcast<vec4<f32>>(vec4(bytes & vec2(0xffu), (bytes >> vec2(8u)) & vec2(0xffu)) | vec4(0x4b000000u)) - 8388608.0;
  let d_dmin = halves_of_word(header.x);
  let steps = f32(d_dmin.x) * codes.xz;
  let minima = f32(d_dmin.y) * codes.yw;
  let upper = select(vec2(half), vec2(2.0 * half), minima > 1.5 * half * steps);
  let middle = select(upper, vec2(0.0), minima < 0.5 * half * steps);
  return RunScales(halves_of_pair(codes.xz / 128.0), 512.0h * d_dmin.x, middle, halves_of_pair(middle * steps - minima));
}
