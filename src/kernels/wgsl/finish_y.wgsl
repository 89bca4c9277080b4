// The same for a hook: leaves S r as it is, for time_mix_norm.wgsl.
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;  // [TOKENS_MAX, n_embd / 4]

fn y_quad(at: u32) -> vec4<f32> {
  return vec4(head_y[at * 4u], head_y[at * 4u + 1u], head_y[at * 4u + 2u], head_y[at * 4u + 3u]);
}

// S r of a block's tokens.
fn finish(token_first: u32, count: u32, head_quad: u32, index: u32) {
  workgroupBarrier();
  for (var item = index; item < count * QUADS; item += WORKGROUP_SIZE) {
    y[(token_first + item / QUADS) * (immediates.n_embd / 4u) + head_quad + item % QUADS] = y_quad(item);
  }
  workgroupBarrier();
}
