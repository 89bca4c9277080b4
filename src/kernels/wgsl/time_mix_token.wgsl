// The same as time_mix.wgsl for chunks of one token or few: the whole of a head's state in registers, all loads on their way
// before the first is used, one barrier a token. One workgroup of QUADS times SHARES: one (chunk, head); SHARES neighbours
// hold four rows i of S (value channels), each of them QUADS_EACH quads of every row: own, own + SHARES and so on.
// Every invocation prepares the key channels of its quads itself, which costs less than to wait for others.
// Grid: x: heads, y: chunks. Oracle: time_mix_ref.cpp.
//@import time_mix_inputs
//@const HEAD_SIZE 64
// HEAD_SIZE / 4
//@const QUADS 16
//@const SHARES 16
// QUADS / SHARES
//@const QUADS_EACH 1
//@import share_subgroup
// Neighbours of the first rows norm a token, a whole number of SHARES; the analysis cannot know it.
diagnostic(off, subgroup_uniformity);

@group(0) @binding(6) var<storage, read_write> wkv_state: array<vec4<f32>>;  // [slot, n_head, HEAD_SIZE (i), HEAD_SIZE (j)]
@group(0) @binding(7) var<storage, read_write> gated: array<Act4>;           // [TOKENS_MAX, stride / 4]

const WORKGROUP_SIZE = QUADS * SHARES;

struct Place {
  head_quad: u32,  // the head's first
  rows: u32,       // i / 4 of the invocation's rows
  own: u32,        // among SHARES
  state: u32,      // quads
}

// Four rows of some quads, a row to a column of the matrix.
alias State = array<mat4x4<f32>, QUADS_EACH>;

struct Token {
  keys: array<Keys, QUADS_EACH>,
  v: vec4<f32>,
}

// Of an even token and of an odd one, so that a token need not wait until all have normed the one before it.
var<workgroup> head_y: array<vec4<f32>, 2u * QUADS>;
var<workgroup> head_v: array<vec4<f32>, 2u * QUADS>;

fn load_token(token: u32, place: Place) -> Token {
  var result: Token;
  //@repeat Q QUADS_EACH
  result.keys[$Q] = keys_at(row_of(token), place.head_quad + place.own + $Qu * SHARES);
  //@end
  result.v = values_at(row_of(token), place.head_quad + place.rows);
  return result;
}

// Group norm, bonus and gate of the head's quads own, own + SHARES and so on. at: of head_y.
fn finish(token: u32, bonus: f32, place: Place, at: u32) {
  var sum = 0.0;
  for (var q = place.own; q < QUADS; q += SHARES) {
    sum += dot(head_y[at + q], vec4(1.0));
  }
  let mean = share_sum(sum) / f32(HEAD_SIZE);
  sum = 0.0;
  for (var q = place.own; q < QUADS; q += SHARES) {
    sum += dot(head_y[at + q] - mean, head_y[at + q] - mean);
  }
  let scale = 1.0 / sqrt(share_sum(sum) / f32(HEAD_SIZE) + immediates.epsilon);
  for (var q = place.own; q < QUADS; q += SHARES) {
    let quad = place.head_quad + q;
    let here = row_of(token) + quad;
    let normed = (head_y[at + q] - mean) * scale * vector_at(6u, quad) + vector_at(7u, quad);
    gated[here] = Act4((normed + bonus * head_v[at + q]) * vec4<f32>(up[plane(3u) + here]));
  }
}

// S <- S diag(w) - (S kk)(kk a)^T + v k^T; gives S r.
fn advance(state: ptr<function, State>, token: Token, squares: f32) -> vec4<f32> {
  let inverse_norm = inverse_key_norm(squares);
  var sums = vec4<f32>();
  //@repeat Q QUADS_EACH
  sums += token.keys[$Q].kk * (*state)[$Q];
  //@end
  let removed = share_sum4(sums) * inverse_norm * inverse_norm;
  let v = token.v;
  sums = vec4<f32>();
  //@repeat Q QUADS_EACH
  {
    let keys = token.keys[$Q];
    let remove = keys.kk * keys.a;
    let s = (*state)[$Q];
    let next = mat4x4(s[0] * keys.w - removed.x * remove + v.x * keys.k, s[1] * keys.w - removed.y * remove + v.y * keys.k,
                      s[2] * keys.w - removed.z * remove + v.z * keys.k, s[3] * keys.w - removed.w * remove + v.w * keys.k);
    sums += keys.r * next;
    (*state)[$Q] = next;
  }
  //@end
  return share_sum4(sums);
}

fn advance_token(state: ptr<function, State>, token: Token, index: u32, place: Place, parity: u32) {
  var sums = vec2<f32>();
  //@repeat Q QUADS_EACH
  sums += token.keys[$Q].sums;
  //@end
  sums = share_sum2(sums);
  let y = advance(state, token, sums.x);
  let at = parity * QUADS;
  if (place.own == 0u) {
    head_y[at + place.rows] = y;
    head_v[at + place.rows] = token.v;
    if (immediates.first_layer == 1u) {
      v_first[row_of(index) + place.head_quad + place.rows] = Act4(token.v);
    }
  }
  workgroupBarrier();
  if (place.rows == 0u) {
    finish(index, sums.y, place, at);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(lane: Lane, @builtin(workgroup_id) workgroup: vec3<u32>) {
  // Both are read at once; what lies behind the last chunk is from an earlier step.
  let chunk = step_chunk(workgroup.y);
  if (workgroup.y >= step_n_chunks() || chunk.count == 0u) {
    return;
  }
  let index = lane_index(lane);
  let rows = index / SHARES;
  let own = index % SHARES;
  let first_row = (chunk.slot * (immediates.n_embd / HEAD_SIZE) + workgroup.x) * HEAD_SIZE + rows * 4u;
  let place = Place(workgroup.x * QUADS, rows, own, first_row * QUADS + own);
  var state: State;
  //@repeat Q QUADS_EACH
  state[$Q] = mat4x4(wkv_state[place.state + $Qu * SHARES], wkv_state[place.state + $Qu * SHARES + QUADS],
                     wkv_state[place.state + $Qu * SHARES + 2u * QUADS], wkv_state[place.state + $Qu * SHARES + 3u * QUADS]);
  //@end
  let frozen = control_frozen(chunk.slot);
  var token = load_token(chunk.first, place);
  for (var t = 0u; ; t++) {
    advance_token(&state, token, chunk.first + t, place, t & 1u);
    if (t + 1u >= chunk.count) {
      break;
    }
    token = load_token(chunk.first + t + 1u, place);
  }
  if (frozen) {
    return;
  }
  //@repeat Q QUADS_EACH
  wkv_state[place.state + $Qu * SHARES] = state[$Q][0];
  wkv_state[place.state + $Qu * SHARES + QUADS] = state[$Q][1];
  wkv_state[place.state + $Qu * SHARES + 2u * QUADS] = state[$Q][2];
  wkv_state[place.state + $Qu * SHARES + 3u * QUADS] = state[$Q][3];
  //@end
}
