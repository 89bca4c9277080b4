// What time_mix.wgsl does with a block once its tokens are through the recurrence: all that follows.
@group(0) @binding(7) var<storage, read_write> gated: array<Act4>;  // [TOKENS_MAX, stride / 4]

fn y_quad(at: u32) -> vec4<f32> {
  return vec4(head_y[at * 4u], head_y[at * 4u + 1u], head_y[at * 4u + 2u], head_y[at * 4u + 3u]);
}

// Group norm, bonus and gate of a block's tokens.
fn finish(token_first: u32, count: u32, head_quad: u32, index: u32) {
  workgroupBarrier();
  for (var item = index; item < count * QUADS; item += WORKGROUP_SIZE) {
    head_sums[item].x = dot(y_quad(item), vec4(1.0));
  }
  workgroupBarrier();
  for (var item = index; item < count * QUADS; item += WORKGROUP_SIZE) {
    let difference = y_quad(item) - token_sums(item / QUADS).x / f32(HEAD_SIZE);
    head_sums[item].y = dot(difference, difference);
  }
  workgroupBarrier();
  for (var item = index; item < count * QUADS; item += WORKGROUP_SIZE) {
    let t = item / QUADS;
    let quad = head_quad + item % QUADS;
    let here = row_of(token_first + t) + quad;
    let gate = vec4<f32>(up[plane(3u) + here]);
    let sums = token_sums(t) / f32(HEAD_SIZE);
    let scale = 1.0 / sqrt(sums.y + immediates.epsilon);
    let normed = (y_quad(item) - sums.x) * scale * vector_at(6u, quad) + vector_at(7u, quad);
    let v = vec4(head_v[item * 4u], head_v[item * 4u + 1u], head_v[item * 4u + 2u], head_v[item * 4u + 3u]);
    gated[here] = Act4((normed + head_totals[t].y * v) * gate);
  }
  workgroupBarrier();
}
