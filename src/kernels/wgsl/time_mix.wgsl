// The recurrence of the time mix and all that surrounds it per head, for every token of a chunk in turn:
//   w = exp(-exp(-1/2) sigmoid(w0 + up_w));  a = sigmoid(a0 + up_a);  v = v + (v_first - v) sigmoid(v0 + up_v)
//   kk = k k_k / |k k_k|;  k = k (1 + (a - 1) k_a)
//   S <- S diag(w) - (S kk)(kk a)^T + v k^T;  y = S r
//   out = (group_norm(y) + (sum r k r_k) v) up_g
// One workgroup of HEAD_SIZE: one (chunk, head); invocation i holds row i of S (value channel) in registers. BLOCK tokens at
// a time: what does not depend on the state is computed for all of them, then the recurrence runs through them without a
// barrier, then all are normed. Sums over key channels run in the same order in every invocation, and for a token in the
// same order wherever in a block it stands. Reads and writes the head's state once per chunk. Grid: x: heads, y: chunks.
// Oracle: time_mix_ref.cpp.
//@import act
//@import step
//@import control
//@const HEAD_SIZE 64
//@const BLOCK 8
// HEAD_SIZE / 4
//@const QUADS 16
//@import state

struct Immediates {
  n_embd: u32,
  stride: u32,  // of the rows of r_k_v, up, v_first, gated
  first_layer: u32,
  epsilon: f32,  // of the group norm
}

@group(0) @binding(2) var<storage, read> r_k_v: array<Act>;            // [3, TOKENS_MAX, stride]
@group(0) @binding(3) var<storage, read> up: array<Act>;               // w a v g: [4, TOKENS_MAX, stride]
@group(0) @binding(4) var<storage, read_write> v_first: array<Act>;     // [TOKENS_MAX, stride]
@group(0) @binding(5) var<storage, read> vectors: array<f32>;          // w0 a0 v0 k_k k_a r_k ln_x: [8, n_embd]
@group(0) @binding(6) var<storage, read_write> wkv_state: array<vec4<f32>>;  // [slot, n_head, HEAD_SIZE (i), HEAD_SIZE (j)]
@group(0) @binding(7) var<storage, read_write> gated: array<Act>;       // [TOKENS_MAX, stride]
var<immediate> immediates: Immediates;

const EXP_MINUS_HALF = 0.6065306597126334;
const KEY_NORM_EPSILON = 1e-12;
// A token's norm is summed in PARTS, each of PART channels by one invocation.
const PARTS = max(HEAD_SIZE / BLOCK, 1u);
const PART = HEAD_SIZE / PARTS;

// Per token of the block and four key channels j.
var<workgroup> head_r: array<vec4<f32>, BLOCK * QUADS>;
var<workgroup> head_w: array<vec4<f32>, BLOCK * QUADS>;
var<workgroup> head_k: array<vec4<f32>, BLOCK * QUADS>;
var<workgroup> head_kk: array<vec4<f32>, BLOCK * QUADS>;      // not yet normalised
var<workgroup> head_remove: array<vec4<f32>, BLOCK * QUADS>;  // kk * a
var<workgroup> head_sums: array<vec2<f32>, BLOCK * QUADS>;    // of kk^2 and of the bonus r * k * r_k
// Per token.
var<workgroup> head_totals: array<vec2<f32>, BLOCK>;  // 1 / |kk|^2, bonus
var<workgroup> head_v: array<f32, BLOCK * HEAD_SIZE>;
var<workgroup> head_y: array<f32, BLOCK * HEAD_SIZE>;
var<workgroup> norm_sums: array<f32, BLOCK * PARTS>;
var<workgroup> norm_squares: array<f32, BLOCK * PARTS>;

fn sigmoid(value: f32) -> f32 { return 1.0 / (1.0 + exp(-value)); }

fn vector_at(index: u32, channel: u32) -> f32 { return vectors[index * immediates.n_embd + channel]; }

// v of a token and channel, mixed with the first layer's.
fn mixed_v(row: u32, channel: u32) -> f32 {
  let plane = TOKENS_MAX * immediates.stride;
  let v = f32(r_k_v[2u * plane + row + channel]);
  if (immediates.first_layer == 1u) {
    v_first[row + channel] = Act(v);
    return v;
  }
  let share = sigmoid(vector_at(2u, channel) + f32(up[2u * plane + row + channel]));
  return v + (f32(v_first[row + channel]) - v) * share;
}

// Puts r, w, k, kk and kk * a of four channels where the whole head sees them, and their sums.
fn publish(row: u32, channel_first: u32, at: u32) {
  let plane = TOKENS_MAX * immediates.stride;
  var sums = vec2<f32>();
  var r: vec4<f32>;
  var w: vec4<f32>;
  var k: vec4<f32>;
  var kk: vec4<f32>;
  var remove: vec4<f32>;
  for (var c = 0u; c < loop_end(4u); c++) {
    let channel = channel_first + c;
    let key = f32(r_k_v[plane + row + channel]);
    let a = sigmoid(vector_at(1u, channel) + f32(up[plane + row + channel]));
    r[c] = f32(r_k_v[row + channel]);
    w[c] = exp(-EXP_MINUS_HALF * sigmoid(vector_at(0u, channel) + f32(up[row + channel])));
    k[c] = key * (1.0 + (a - 1.0) * vector_at(4u, channel));
    kk[c] = key * vector_at(3u, channel);
    remove[c] = kk[c] * a;
    sums += vec2(kk[c] * kk[c], r[c] * k[c] * vector_at(5u, channel));
  }
  head_r[at] = r;
  head_w[at] = w;
  head_k[at] = k;
  head_kk[at] = kk;
  head_remove[at] = remove;
  head_sums[at] = sums;
}

// All that a block's tokens need before the recurrence.
fn prepare(token_first: u32, count: u32, head_channel: u32, i: u32) {
  for (var item = i; item < count * QUADS; item += HEAD_SIZE) {
    publish((token_first + item / QUADS) * immediates.stride, head_channel + item % QUADS * 4u, item);
  }
  for (var t = 0u; t < count; t++) {
    head_v[t * HEAD_SIZE + i] = mixed_v((token_first + t) * immediates.stride, head_channel + i);
  }
  workgroupBarrier();
  if (i < count) {
    var totals = vec2<f32>();
    for (var q = 0u; q < loop_end(QUADS); q++) {
      totals += head_sums[i * QUADS + q];
    }
    let inverse_norm = 1.0 / max(sqrt(totals.x), KEY_NORM_EPSILON);
    head_totals[i] = vec2(inverse_norm * inverse_norm, totals.y);
  }
  workgroupBarrier();
}

// Group norm, bonus and gate of a block's tokens.
fn finish(token_first: u32, count: u32, head_channel: u32, i: u32) {
  workgroupBarrier();
  let part_at = i / PARTS * HEAD_SIZE + i % PARTS * PART;
  if (i < count * PARTS) {
    var sum = 0.0;
    for (var j = 0u; j < loop_end(PART); j++) {
      sum += head_y[part_at + j];
    }
    norm_sums[i] = sum;
  }
  workgroupBarrier();
  if (i < count * PARTS) {
    let mean = norm_mean(i / PARTS);
    var squares = 0.0;
    for (var j = 0u; j < loop_end(PART); j++) {
      let difference = head_y[part_at + j] - mean;
      squares += difference * difference;
    }
    norm_squares[i] = squares;
  }
  workgroupBarrier();
  let channel = head_channel + i;
  for (var t = 0u; t < count; t++) {
    var squares = 0.0;
    for (var part = 0u; part < loop_end(PARTS); part++) {
      squares += norm_squares[t * PARTS + part];
    }
    let scale = 1.0 / sqrt(squares / f32(HEAD_SIZE) + immediates.epsilon);
    let normed = (head_y[t * HEAD_SIZE + i] - norm_mean(t)) * scale * vector_at(6u, channel) + vector_at(7u, channel);
    let at = (token_first + t) * immediates.stride + channel;
    let gate = f32(up[3u * TOKENS_MAX * immediates.stride + at]);
    gated[at] = Act((normed + head_totals[t].y * head_v[t * HEAD_SIZE + i]) * gate);
  }
  workgroupBarrier();
}

fn norm_mean(t: u32) -> f32 {
  var sum = 0.0;
  for (var part = 0u; part < loop_end(PARTS); part++) {
    sum += norm_sums[t * PARTS + part];
  }
  return sum / f32(HEAD_SIZE);
}

@compute @workgroup_size(HEAD_SIZE)
fn main(@builtin(local_invocation_index) i: u32, @builtin(workgroup_id) workgroup: vec3<u32>) {
  if (workgroup.y >= step_n_chunks()) {
    return;
  }
  let chunk = step_chunk(workgroup.y);
  let head_channel = workgroup.x * HEAD_SIZE;
  let state_at = ((chunk.slot * (immediates.n_embd / HEAD_SIZE) + workgroup.x) * HEAD_SIZE + i) * QUADS;
  load_state(state_at);
  for (var done = 0u; done < chunk.count; done += BLOCK) {
    let count = min(chunk.count - done, BLOCK);
    prepare(chunk.first + done, count, head_channel, i);
    for (var t = 0u; t < count; t++) {
      let v = head_v[t * HEAD_SIZE + i];
      let at = t * QUADS;
      head_y[t * HEAD_SIZE + i] = advance_state(at, state_times_kk(at) * head_totals[t].x, v);
    }
    finish(chunk.first + done, count, head_channel, i);
  }
  if (control_frozen(chunk.slot)) {
    return;
  }
  store_state(state_at);
}
