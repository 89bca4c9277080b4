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
//@import stored
// SHARES neighbours always go the same way; the analysis cannot know it.
diagnostic(off, subgroup_uniformity);

@group(0) @binding(7) var<storage, read_write> gated: array<Act4>;           // [TOKENS_MAX, stride / 4]

const WORKGROUP_SIZE = QUADS * SHARES;

struct Place {
  head_quad: u32,  // the head's first
  rows: u32,       // i / 4 of the invocation's rows
  own: u32,        // among SHARES
}

// Four rows of the invocation's quads, and of the token in hand the same quads and its value channels: each in a register,
// an array would be put in memory.
//@repeat Q QUADS_EACH
var<private> state_$Q_0: vec4<f32>;
var<private> state_$Q_1: vec4<f32>;
var<private> state_$Q_2: vec4<f32>;
var<private> state_$Q_3: vec4<f32>;
var<private> keys_$Q: Keys;
//@end
var<private> value: vec4<f32>;

// Of an even token and of an odd one, so that a token need not wait until all have normed the one before it.
var<workgroup> head_y: array<vec4<f32>, 2u * QUADS>;
var<workgroup> head_v: array<vec4<f32>, 2u * QUADS>;

fn load_rows(at: u32) {
  //@repeat Q QUADS_EACH
  state_$Q_0 = state_quad(at + $Qu * SHARES);
  state_$Q_1 = state_quad(at + $Qu * SHARES + QUADS);
  state_$Q_2 = state_quad(at + $Qu * SHARES + 2u * QUADS);
  state_$Q_3 = state_quad(at + $Qu * SHARES + 3u * QUADS);
  //@end
}

fn store_rows(at: u32) {
  //@repeat Q QUADS_EACH
  store_state_quad(at + $Qu * SHARES, state_$Q_0);
  store_state_quad(at + $Qu * SHARES + QUADS, state_$Q_1);
  store_state_quad(at + $Qu * SHARES + 2u * QUADS, state_$Q_2);
  store_state_quad(at + $Qu * SHARES + 3u * QUADS, state_$Q_3);
  //@end
}

fn load_token(token: u32, place: Place) {
  //@repeat Q QUADS_EACH
  keys_$Q = keys_at(row_of(token), place.head_quad + place.own + $Qu * SHARES);
  //@end
  value = values_at(row_of(token), place.head_quad + place.rows);
}

// S <- S diag(w) - (S kk)(kk a)^T + v k^T; gives S r. squares: the sum of kk^2.
fn advance(squares: f32) -> vec4<f32> {
  let inverse_norm = inverse_key_norm(squares);
  var sums = vec4<f32>();
  //@repeat Q QUADS_EACH
  sums += vec4(dot(state_$Q_0, keys_$Q.kk), dot(state_$Q_1, keys_$Q.kk), dot(state_$Q_2, keys_$Q.kk), dot(state_$Q_3, keys_$Q.kk));
  //@end
  let removed = share_sum4(sums) * inverse_norm * inverse_norm;
  sums = vec4<f32>();
  //@repeat Q QUADS_EACH
  {
    let keys = keys_$Q;
    let remove = keys.kk * keys.a;
    state_$Q_0 = state_$Q_0 * keys.w - removed.x * remove + value.x * keys.k;
    state_$Q_1 = state_$Q_1 * keys.w - removed.y * remove + value.y * keys.k;
    state_$Q_2 = state_$Q_2 * keys.w - removed.z * remove + value.z * keys.k;
    state_$Q_3 = state_$Q_3 * keys.w - removed.w * remove + value.w * keys.k;
    sums += vec4(dot(state_$Q_0, keys.r), dot(state_$Q_1, keys.r), dot(state_$Q_2, keys.r), dot(state_$Q_3, keys.r));
  }
  //@end
  return share_sum4(sums);
}

// Group norm, bonus and gate of the head's quads own, own + SHARES and so on. at: of head_y.
fn finish_token(token: u32, bonus: f32, place: Place, at: u32) {
  var sum = 0.0;
  //@repeat Q QUADS_EACH
  sum += dot(head_y[at + place.own + $Qu * SHARES], vec4(1.0));
  //@end
  let mean = share_sum(sum) / f32(HEAD_SIZE);
  sum = 0.0;
  //@repeat Q QUADS_EACH
  {
    let difference = head_y[at + place.own + $Qu * SHARES] - mean;
    sum += dot(difference, difference);
  }
  //@end
  let scale = 1.0 / sqrt(share_sum(sum) / f32(HEAD_SIZE) + immediates.epsilon);
  //@repeat Q QUADS_EACH
  {
    let q = place.own + $Qu * SHARES;
    let quad = place.head_quad + q;
    let here = row_of(token) + quad;
    let normed = (head_y[at + q] - mean) * scale * vector_at(6u, quad) + vector_at(7u, quad);
    gated[here] = Act4((normed + bonus * head_v[at + q]) * vec4<f32>(up[plane(3u) + here]));
  }
  //@end
}

fn advance_token(token: u32, place: Place, parity: u32) {
  var sums = vec2<f32>();
  //@repeat Q QUADS_EACH
  sums += keys_$Q.sums;
  //@end
  sums = share_sum2(sums);
  let y = advance(sums.x);
  let at = parity * QUADS;
  if (place.own == 0u) {
    head_y[at + place.rows] = y;
    head_v[at + place.rows] = value;
    if (immediates.first_layer == 1u) {
      v_first[row_of(token) + place.head_quad + place.rows] = Act4(value);
    }
  }
  workgroupBarrier();
  if (place.rows == 0u) {
    finish_token(token, sums.y, place, at);
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
  let place = Place(workgroup.x * QUADS, rows, own);
  let state_at = first_row * QUADS + own;
  load_rows(state_at);
  let frozen = control_frozen(chunk.slot);
  load_token(chunk.first, place);
  advance_token(chunk.first, place, 0u);
  for (var t = 1u; t < chunk.count; t++) {
    // t >> 31 is 0, which the compiler cannot know: it would keep what all tokens have in common in registers, for a loop that
    // is seldom entered, and so have fewer heads at work.
    let again = Place(place.head_quad + (t >> 31u), place.rows, place.own);
    load_token(chunk.first + t, again);
    advance_token(chunk.first + t, again, t & 1u);
  }
  if (!frozen) {
    store_rows(state_at);
  }
}
