// The same as stored_f32.wgsl in f16, two values to a word: half the bytes. What is stored is rounded to the nearest value here,
// ties away from zero: pack2x16float may round towards zero, and states that shrink a little with each token cost 50 times as
// much in perplexity (docs/design/2026-11-21-states-f16.md). Below 2^-14 it is the driver's, who may take such values as zero.
//@const STATE_BINDING 6
@group(0) @binding(STATE_BINDING) var<storage, read_write> wkv_states: array<vec2<u32>>;

const LARGEST = 0x477fe000u;  // 65504
const INFINITE = 0x7f800000u;

fn state_quad(at: u32) -> vec4<f32> {
  let words = wkv_states[at];
  return vec4(unpack2x16float(words.x), unpack2x16float(words.y));
}

// What is too large becomes the largest; NaN and infinity stay, so that a damaged state is seen in the logits. Told by bits,
// because arithmetic may assume that there are none.
fn store_state_quad(at: u32, values: vec4<f32>) {
  let bits = bitcast<vec4<u32>>(values);
  let sizes = bits & vec4(0x7fffffffu);
  var rounded = (bits + vec4(0x1000u)) & vec4(0xffffe000u);
  if (any(sizes > vec4(LARGEST))) {
    let extreme = select((bits & vec4(0x80000000u)) | vec4(LARGEST), bits, sizes >= vec4(INFINITE));
    rounded = select(rounded, extreme, sizes > vec4(LARGEST));
  }
  let kept = bitcast<vec4<f32>>(rounded);
  wkv_states[at] = vec2(pack2x16float(kept.xy), pack2x16float(kept.zw));
}
