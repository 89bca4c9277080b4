// Layer norm and token shift: xx = layer_norm(x), mixed_m = xx + (previous - xx) * x_m, where `previous` is xx of the token
// before it in its chunk, or the slot's shift state for the chunk's first token.
// One workgroup: one token. It normalises the row before its own once more rather than wait for another workgroup, and the
// chunk's first workgroup, the only one to read the old state, also writes the new one: xx of the chunk's last token.
// Three rows go through one piece of code in the components of a vector, so that a row has the same bits in each role.
// Reads up to 3 rows, writes N_MIX rows. Oracle: token_shift_ref.cpp.
//@import act
//@import step
//@import control
//@const WORKGROUP_SIZE 128
// Elements of a row that an invocation keeps.
//@const EACH 20
//@const N_MIX 6
//@import reduce

struct Immediates {
  n_embd: u32,
  stride: u32,  // of a row of `mixed`
  epsilon: f32,
}

@group(0) @binding(2) var<storage, read> x: array<f32>;                 // [token, n_embd]
@group(0) @binding(3) var<storage, read> vectors: array<f32>;           // weight, bias, x_m...: [2 + N_MIX, n_embd]
@group(0) @binding(4) var<storage, read_write> shift_state: array<f32>;  // [slot, n_embd]
@group(0) @binding(5) var<storage, read_write> mixed: array<Act>;        // [N_MIX, TOKENS_MAX, stride]
var<immediate> immediates: Immediates;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(lane: Lane, @builtin(workgroup_id) workgroup: vec3<u32>) {
  let token = workgroup.x;
  if (token >= step_n_tokens()) {
    return;
  }
  let n_embd = immediates.n_embd;
  let chunk = step_chunk(step_chunk_of(token));
  let first = token == chunk.first;
  let own = token * n_embd;
  let before = select(own - n_embd, own, first);
  let last = select(own, (chunk.first + chunk.count - 1u) * n_embd, first);
  // All that is read is asked for at once, ahead of the sums that wait for all invocations. Past the row's end its last element again.
  let frozen = control_frozen(chunk.slot);
  //@repeat I EACH
  let d_$I = lane.index + $Iu * WORKGROUP_SIZE;
  let at_$I = min(d_$I, n_embd - 1u);
  let inside_$I = f32(d_$I < n_embd);
  var rows_$I = vec4(x[own + at_$I], x[before + at_$I], x[last + at_$I], 0.0);
  var state_$I = 0.0;
  if (first) {
    state_$I = shift_state[chunk.slot * n_embd + at_$I];
  }
  let weight_$I = vectors[at_$I];
  let bias_$I = vectors[n_embd + at_$I];
  //@repeat M N_MIX
  let share_$I_$M = vectors[(2u + $Mu) * n_embd + at_$I];
  //@end
  //@end
  var sum = vec4<f32>();
  //@repeat I EACH
  sum += rows_$I * inside_$I;
  //@end
  let mean = workgroup_sum(sum, lane) / f32(n_embd);
  var squares = vec4<f32>();
  //@repeat I EACH
  rows_$I -= mean;
  squares += rows_$I * rows_$I * inside_$I;
  //@end
  let scale = 1.0 / sqrt(workgroup_sum(squares, lane) / f32(n_embd) + immediates.epsilon);
  //@repeat I EACH
  if (d_$I < n_embd) {
    let normed = rows_$I * scale * weight_$I + bias_$I;
    let difference = select(normed.y, state_$I, first) - normed.x;
    if (first && !frozen) {
      shift_state[chunk.slot * n_embd + d_$I] = normed.z;
    }
    //@repeat M N_MIX
    mixed[($Mu * TOKENS_MAX + token) * immediates.stride + d_$I] = Act(normed.x + difference * share_$I_$M);
    //@end
  }
  //@end
}
