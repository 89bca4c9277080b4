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
  var rows: array<vec4<f32>, EACH>;
  // All that is read is asked for at once, ahead of the sums that wait for all invocations.
  var factors: array<array<f32, 2u + N_MIX>, EACH>;
  var sum = vec4<f32>();
  for (var i = 0u; i < EACH; i++) {
    let d = lane.index + i * WORKGROUP_SIZE;
    if (d < n_embd) {
      rows[i] = vec4(x[own + d], x[before + d], x[last + d], 0.0);
      for (var m = 0u; m < 2u + N_MIX; m++) {
        factors[i][m] = vectors[m * n_embd + d];
      }
    }
    sum += rows[i];
  }
  let mean = workgroup_sum(sum, lane) / f32(n_embd);
  var squares = vec4<f32>();
  for (var i = 0u; i < EACH; i++) {
    rows[i] -= mean;
    if (lane.index + i * WORKGROUP_SIZE < n_embd) {
      squares += rows[i] * rows[i];
    }
  }
  let scale = 1.0 / sqrt(workgroup_sum(squares, lane) / f32(n_embd) + immediates.epsilon);
  let frozen = control_frozen(chunk.slot);
  for (var i = 0u; i < EACH; i++) {
    let d = lane.index + i * WORKGROUP_SIZE;
    if (d >= n_embd) {
      break;
    }
    let normed = rows[i] * scale * factors[i][0] + factors[i][1];
    let state_at = chunk.slot * n_embd + d;
    var previous = normed.y;
    if (first) {
      previous = shift_state[state_at];
      if (!frozen) {
        shift_state[state_at] = normed.z;
      }
    }
    let difference = previous - normed.x;
    for (var m = 0u; m < N_MIX; m++) {
      let value = normed.x + difference * factors[i][2u + m];
      mixed[(m * TOKENS_MAX + token) * immediates.stride + d] = Act(value);
    }
  }
}
