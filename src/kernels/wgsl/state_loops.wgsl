// The same as state_registers.wgsl, without shares, with loops that end where the compiler cannot see it, so that it leaves
// them loops: software Vulkan compiles that in seconds instead of a minute and runs it faster.
var<private> state: array<vec4<f32>, QUADS>;

// Where a loop of `count` turns ends; no loop has more than a head has channels.
fn loop_end(count: u32) -> u32 { return min(count, immediates.n_embd); }

fn load_state(at: u32) {
  for (var q = 0u; q < loop_end(QUADS); q++) {
    state[q] = state_quad(at + q);
  }
}

fn store_state(at: u32) {
  for (var q = 0u; q < loop_end(QUADS); q++) {
    store_state_quad(at + q, state[q]);
  }
}

fn state_times_kk(at: u32) -> f32 {
  var sum = 0.0;
  for (var q = 0u; q < loop_end(QUADS); q++) {
    sum += dot(state[q], head_kk[at + q]);
  }
  return sum;
}

fn advance_state(at: u32, removed: f32, v: f32) -> f32 {
  var y = 0.0;
  for (var q = 0u; q < loop_end(QUADS); q++) {
    state[q] = state[q] * head_w[at + q] - removed * head_remove[at + q] + v * head_k[at + q];
    y += dot(state[q], head_r[at + q]);
  }
  return y;
}
