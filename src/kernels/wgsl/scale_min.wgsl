// What Q4_K and Q5_K share: their blocks begin with f16 d and dmin in one word, then eight 6-bit scales and eight 6-bit
// minima in three.
//@import octet
//@import half

// d * scale and dmin * minimum of run j of 32 weights. Runs 0-3: low six bits of bytes j and j + 4. Runs 4-7: low and
// high nibble of byte j + 4 below the two high bits of bytes j - 4 and j.
fn scale_min(block: u32, run: u32) -> vec2<f32> { return scale_min_of(quad(block), run); }

fn scale_min_of(header: vec4<u32>, run: u32) -> vec2<f32> {
  let two = scale_min_two(header, run & 6u);
  return select(two.xy, two.zw, (run & 1u) == 1u);
}

// Of runs `run`, an even one, and run + 1: their bytes stand side by side.
fn scale_min_two(header: vec4<u32>, run: u32) -> vec4<f32> {
  let d_dmin = halves(header.x);
  let bytes = scale_min_bytes(header, run);
  return vec4(d_dmin * vec2<f32>(bytes & vec2(0xffu)), d_dmin * vec2<f32>((bytes >> vec2(8u)) & vec2(0xffu)));
}

// The codes of both scales, and those of both minima, in the two lowest bytes.
fn scale_min_bytes(header: vec4<u32>, run: u32) -> vec2<u32> {
  let bytes = header.yzw >> vec3(8u * (run & 3u));
  let early = bytes.xy & vec2(0x3f3fu);
  let late = (vec2(bytes.z, bytes.z >> 4u) & vec2(0x0f0fu)) | ((bytes.xy >> vec2(2u)) & vec2(0x3030u));
  return select(early, late, run >= 4u);
}
