// Row i of a head's state, four key channels in each of QUADS registers: an array would be put in memory.
//@repeat Q QUADS
var<private> state_$Q: vec4<f32>;
//@end

// Where a loop of `count` turns ends, which the compiler may unroll.
fn loop_end(count: u32) -> u32 { return count; }

fn load_state(at: u32) {
  //@repeat Q QUADS
  state_$Q = wkv_state[at + $Qu];
  //@end
}

fn store_state(at: u32) {
  //@repeat Q QUADS
  wkv_state[at + $Qu] = state_$Q;
  //@end
}

// S kk of the token whose quads begin at `at`.
fn state_times_kk(at: u32) -> f32 {
  var sum = 0.0;
  //@repeat Q QUADS
  sum += dot(state_$Q, head_kk[at + $Qu]);
  //@end
  return sum;
}

// S <- S diag(w) - removed (kk a)^T + v k^T; gives S r.
fn advance_state(at: u32, removed: f32, v: f32) -> f32 {
  var y = 0.0;
  //@repeat Q QUADS
  state_$Q = state_$Q * head_w[at + $Qu] - removed * head_remove[at + $Qu] + v * head_k[at + $Qu];
  y += dot(state_$Q, head_r[at + $Qu]);
  //@end
  return y;
}
