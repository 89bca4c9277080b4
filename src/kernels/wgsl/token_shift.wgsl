// Layer norm and token shift: xx = layer_norm(x), mixed_m = xx + (previous - xx) * x_m, where `previous` is xx of the token
// before it in its chunk, or the slot's shift state for the chunk's first token.
// One workgroup: TOKENS consecutive tokens, of one chunk or of several, so that it reads the vectors once for all of them. It
// normalises the row before its own once more rather than wait for another workgroup. The workgroup of a chunk's first token, the
// only one to read the old state, also writes the new one: xx of the chunk's last token, wherever that is.
// All rows go through one piece of code in the components of vectors, so that a row has the same bits in each role.
// Reads up to TOKENS + 2 rows, writes TOKENS * N_MIX rows. Oracle: token_shift_ref.cpp.
//@import act
//@import step
//@import control
//@const WORKGROUP_SIZE 128
// Elements of a row that an invocation keeps.
//@const EACH 20
//@const N_MIX 6
//@const TOKENS 1
// Summed are SUMS vectors of rows: that of the token before, its own, and a chunk's last.
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
  let n_tokens = step_n_tokens();
  let begin = workgroup.x * TOKENS;
  if (begin >= n_tokens) {
    return;
  }
  let end = min(begin + TOKENS, n_tokens);
  let n_embd = immediates.n_embd;
  // All that is read is asked for at once, ahead of the sums that wait for all invocations; first what needs no chunk to be known. Past
  // the row's end its last element again, past the last token that token again: of both nothing is written.
  let before = (max(begin, 1u) - 1u) * n_embd;
  //@repeat T TOKENS
  let token_$T = min(begin + $Tu, n_tokens - 1u);
  //@end
  //@repeat I EACH
  let d_$I = lane.index + $Iu * WORKGROUP_SIZE;
  let at_$I = min(d_$I, n_embd - 1u);
  let inside_$I = f32(d_$I < n_embd);
  var rows_$I: array<vec4<f32>, SUMS>;
  rows_$I[0].x = x[before + at_$I];
  //@repeat T TOKENS
  rows_$I[($Tu + 1u) / 4u][($Tu + 1u) % 4u] = x[token_$T * n_embd + at_$I];
  //@end
  let weight_$I = vectors[at_$I];
  let bias_$I = vectors[n_embd + at_$I];
  //@repeat M N_MIX
  let share_$I_$M = vectors[(2u + $Mu) * n_embd + at_$I];
  //@end
  //@end
  // A chunk that begins here and goes on behind: there is one at most.
  let open = step_chunk(step_chunk_of(end - 1u));
  let last = open.first + open.count - 1u;
  let goes_on = open.first >= begin && last >= end;
  let keeps_last = goes_on && !control_frozen(open.slot);
  let behind = select(begin, last, goes_on) * n_embd;
  //@repeat I EACH
  rows_$I[(TOKENS + 1u) / 4u][(TOKENS + 1u) % 4u] = x[behind + at_$I];
  //@end
  //@repeat T TOKENS
  let chunk_$T = step_chunk(step_chunk_of(token_$T));
  let first_$T = token_$T == chunk_$T.first;
  let state_at_$T = chunk_$T.slot * n_embd;
  let ends_$T = chunk_$T.first >= begin && begin + $Tu + 1u == chunk_$T.first + chunk_$T.count;
  let keeps_$T = ends_$T && !control_frozen(chunk_$T.slot);
  //@repeat I EACH
  var state_$I_$T = 0.0;
  //@end
  if (first_$T) {
    //@repeat I EACH
    state_$I_$T = shift_state[state_at_$T + at_$I];
    //@end
  }
  //@end
  var means: array<vec4<f32>, SUMS>;
  //@repeat I EACH
  //@repeat S SUMS
  means[$S] += rows_$I[$S] * inside_$I;
  //@end
  //@end
  means = workgroup_sums(means, lane);
  var scales: array<vec4<f32>, SUMS>;
  //@repeat S SUMS
  means[$S] /= f32(n_embd);
  //@repeat I EACH
  rows_$I[$S] -= means[$S];
  scales[$S] += rows_$I[$S] * rows_$I[$S] * inside_$I;
  //@end
  //@end
  scales = workgroup_sums(scales, lane);
  //@repeat S SUMS
  scales[$S] = 1.0 / sqrt(scales[$S] / f32(n_embd) + immediates.epsilon);
  //@end
  //@repeat I EACH
  if (d_$I < n_embd) {
    //@repeat S SUMS
    rows_$I[$S] = rows_$I[$S] * scales[$S] * weight_$I + bias_$I;
    //@end
    //@repeat T TOKENS
    if (begin + $Tu < n_tokens) {
      let normed = rows_$I[($Tu + 1u) / 4u][($Tu + 1u) % 4u];
      let difference = select(rows_$I[$Tu / 4u][$Tu % 4u], state_$I_$T, first_$T) - normed;
      if (keeps_$T) {
        shift_state[state_at_$T + d_$I] = normed;
      }
      //@repeat M N_MIX
      mixed[($Mu * TOKENS_MAX + token_$T) * immediates.stride + d_$I] = Act(normed + difference * share_$I_$M);
      //@end
    }
    //@end
    if (keeps_last) {
      shift_state[open.slot * n_embd + d_$I] = rows_$I[(TOKENS + 1u) / 4u][(TOKENS + 1u) % 4u];
    }
  }
  //@end
}
