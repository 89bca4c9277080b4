// Group norm, bonus and gate of what time_mix_pairs.wgsl and others leave: out = (group_norm(y) + (sum r k r_k) v) up_g.
// SHARES neighbours: one (token, head). Grid: x: heads, y: tokens by TOKENS. Oracle: time_mix_ref.cpp.
//@import time_mix_inputs
//@const HEAD_SIZE 64
// HEAD_SIZE / 4
//@const QUADS 16
//@const TOKENS 16
// Each has QUADS_EACH quads: own, own + SHARES and so on.
//@const SHARES 8
//@const QUADS_EACH 2
//@import share

@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;      // S r: [TOKENS_MAX, n_embd / 4]; only read
@group(0) @binding(7) var<storage, read_write> gated: array<Act4>;      // [TOKENS_MAX, stride / 4]

const WORKGROUP_SIZE = TOKENS * SHARES;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(lane: Lane, @builtin(workgroup_id) workgroup: vec3<u32>) {
  let index = lane_index(lane);
  let own = workgroup.x * QUADS + index % SHARES;
  let token = workgroup.y * TOKENS + index / SHARES;
  // Those without a token sum with their neighbours all the same.
  let last = max(step_n_tokens(), 1u) - 1u;
  let row = row_of(min(token, last));
  let y_row = min(token, last) * (immediates.n_embd / 4u);
  var sums = vec2<f32>();
  //@repeat Q QUADS_EACH
  let y_$Q = y[y_row + own + $Qu * SHARES];
  let v_$Q = values_at(row, own + $Qu * SHARES);
  let gate_$Q = vec4<f32>(up[plane(3u) + row + own + $Qu * SHARES]);
  sums += vec2(dot(y_$Q, vec4(1.0)), keys_at(row, own + $Qu * SHARES).sums.y);
  //@end
  sums = share_sum2(sums);
  let mean = sums.x / f32(HEAD_SIZE);
  var squares = 0.0;
  //@repeat Q QUADS_EACH
  squares += dot(y_$Q - mean, y_$Q - mean);
  //@end
  let scale = 1.0 / sqrt(share_sum(squares) / f32(HEAD_SIZE) + immediates.epsilon);
  if (token >= step_n_tokens()) {
    return;
  }
  //@repeat Q QUADS_EACH
  {
    let quad = own + $Qu * SHARES;
    let normed = (y_$Q - mean) * scale * vector_at(6u, quad) + vector_at(7u, quad);
    gated[row + quad] = Act4((normed + sums.y * v_$Q) * gate_$Q);
  }
  //@end
}
