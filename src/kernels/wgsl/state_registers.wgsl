// A share of row i of a head's state: every SHARES-th four key channels, each in a register: an array would be put in memory.
//@const STATE_QUADS 16
//@repeat Q STATE_QUADS
var<private> state_$Q: vec4<f32>;
//@end

// Where a loop of `count` turns ends, which the compiler may unroll.
fn loop_end(count: u32) -> u32 { return count; }

// `at` begins with the share's own quads, in memory and below.
fn load_state(at: u32) {
  //@repeat Q STATE_QUADS
  state_$Q = state_quad(at + $Qu * SHARES);
  //@end
}

fn store_state(at: u32) {
  //@repeat Q STATE_QUADS
  store_state_quad(at + $Qu * SHARES, state_$Q);
  //@end
}

// S kk of the token whose quads begin at `at`, the share's part.
fn state_times_kk(at: u32) -> f32 {
  var sums = vec4<f32>();
  //@repeat Q STATE_QUADS
  sums += state_$Q * head_kk[at + $Qu * SHARES];
  //@end
  return dot(sums, vec4(1.0));
}

// S <- S diag(w) - removed (kk a)^T + v k^T; gives S r, the share's part.
fn advance_state(at: u32, removed: f32, v: f32) -> f32 {
  var sums = vec4<f32>();
  //@repeat Q STATE_QUADS
  state_$Q = state_$Q * head_w[at + $Qu * SHARES] - removed * head_remove[at + $Qu * SHARES] + v * head_k[at + $Qu * SHARES];
  sums += state_$Q * head_r[at + $Qu * SHARES];
  //@end
  return dot(sums, vec4(1.0));
}
