// The recurrence of the time mix and all that surrounds it per head, for every token of a chunk in turn:
//   w = exp(-exp(-1/2) sigmoid(w0 + up_w));  a = sigmoid(a0 + up_a);  v = v + (v_first - v) sigmoid(v0 + up_v)
//   kk = k k_k / |k k_k|;  k = k (1 + (a - 1) k_a)
//   S <- S diag(w) - (S kk)(kk a)^T + v k^T;  y = S r
//   out = (group_norm(y) + (sum r k r_k) v) up_g
// One workgroup of HEAD_SIZE: one (chunk, head); invocation i holds row i of S (value channel) in registers. Two barriers
// a token. Sums over key channels run in the same order in every invocation. Reads and writes the head's state once per
// chunk. Grid: x: heads, y: chunks. Oracle: time_mix_ref.cpp.
//@import act
//@import step
//@import control
//@const HEAD_SIZE 64
// 0: the loops over key channels end where the compiler cannot see it, so that it leaves them loops: software Vulkan
// compiles that in 4 s instead of 20 and runs it faster, a GPU would take the state out of its registers.
//@const UNROLLED 1

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
@group(0) @binding(6) var<storage, read_write> wkv_state: array<f32>;   // [slot, n_head, HEAD_SIZE (i), HEAD_SIZE (j)]
@group(0) @binding(7) var<storage, read_write> gated: array<Act>;       // [TOKENS_MAX, stride]
var<immediate> immediates: Immediates;

const EXP_MINUS_HALF = 0.6065306597126334;
const KEY_NORM_EPSILON = 1e-12;
const QUADS = HEAD_SIZE / 4u;

// Per key channel j.
var<workgroup> head_r_w_k_remove: array<vec4<f32>, HEAD_SIZE>;  // remove: kk * a; kk not yet normalised
var<workgroup> head_kk_bonus: array<vec2<f32>, HEAD_SIZE>;      // bonus: r * k * r_k
var<workgroup> head_y: array<f32, HEAD_SIZE>;

fn sigmoid(value: f32) -> f32 { return 1.0 / (1.0 + exp(-value)); }

fn vector_at(index: u32, channel: u32) -> f32 { return vectors[index * immediates.n_embd + channel]; }

// v of this token and channel, mixed with the first layer's.
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

// Puts this channel's r, w, k, kk, kk * a and bonus where the whole head sees them.
fn publish(row: u32, channel: u32, j: u32) {
  let plane = TOKENS_MAX * immediates.stride;
  let r = f32(r_k_v[row + channel]);
  let k = f32(r_k_v[plane + row + channel]);
  let w = exp(-EXP_MINUS_HALF * sigmoid(vector_at(0u, channel) + f32(up[row + channel])));
  let a = sigmoid(vector_at(1u, channel) + f32(up[plane + row + channel]));
  let kk = k * vector_at(3u, channel);
  let replacement = k * (1.0 + (a - 1.0) * vector_at(4u, channel));
  head_r_w_k_remove[j] = vec4(r, w, replacement, kk * a);
  head_kk_bonus[j] = vec2(kk, r * replacement * vector_at(5u, channel));
}

fn group_norm(y: f32, channel: u32) -> f32 {
  var sum = 0.0;
  for (var j = 0u; j < HEAD_SIZE; j++) {
    sum += head_y[j];
  }
  let mean = sum / f32(HEAD_SIZE);
  var squares = 0.0;
  for (var j = 0u; j < HEAD_SIZE; j++) {
    let difference = head_y[j] - mean;
    squares += difference * difference;
  }
  let scale = 1.0 / sqrt(squares / f32(HEAD_SIZE) + immediates.epsilon);
  return (y - mean) * scale * vector_at(6u, channel) + vector_at(7u, channel);
}

@compute @workgroup_size(HEAD_SIZE)
fn main(@builtin(local_invocation_index) i: u32, @builtin(workgroup_id) workgroup: vec3<u32>) {
  if (workgroup.y >= step_n_chunks()) {
    return;
  }
  let chunk = step_chunk(workgroup.y);
  let channel = workgroup.x * HEAD_SIZE + i;
  let state_at = (chunk.slot * (immediates.n_embd / HEAD_SIZE) + workgroup.x) * HEAD_SIZE * HEAD_SIZE + i * HEAD_SIZE;
  let quads = select(min(QUADS, immediates.n_embd), QUADS, UNROLLED == 1u);
  var state: array<vec4<f32>, QUADS>;
  for (var q = 0u; q < quads; q++) {
    let at = state_at + 4u * q;
    state[q] = vec4(wkv_state[at], wkv_state[at + 1u], wkv_state[at + 2u], wkv_state[at + 3u]);
  }
  for (var token = chunk.first; token < chunk.first + chunk.count; token++) {
    let row = token * immediates.stride;
    publish(row, channel, i);
    let v = mixed_v(row, channel);
    workgroupBarrier();
    var squares = 0.0;
    var state_kk = 0.0;
    var bonus = 0.0;
    for (var q = 0u; q < quads; q++) {
      let by_role = transpose(mat4x2(head_kk_bonus[4u * q], head_kk_bonus[4u * q + 1u], head_kk_bonus[4u * q + 2u],
                                     head_kk_bonus[4u * q + 3u]));
      squares += dot(by_role[0], by_role[0]);
      state_kk += dot(state[q], by_role[0]);
      bonus += dot(by_role[1], vec4(1.0));
    }
    let inverse_norm = 1.0 / max(sqrt(squares), KEY_NORM_EPSILON);
    let removed = state_kk * inverse_norm * inverse_norm;
    var y = 0.0;
    for (var q = 0u; q < quads; q++) {
      let by_role = transpose(mat4x4(head_r_w_k_remove[4u * q], head_r_w_k_remove[4u * q + 1u], head_r_w_k_remove[4u * q + 2u],
                                     head_r_w_k_remove[4u * q + 3u]));
      state[q] = state[q] * by_role[1] - removed * by_role[3] + v * by_role[2];
      y += dot(state[q], by_role[0]);
    }
    head_y[i] = y;
    workgroupBarrier();
    let gate = f32(up[3u * TOKENS_MAX * immediates.stride + row + channel]);
    gated[row + channel] = Act((group_norm(y, channel) + bonus * v) * gate);
  }
  if (control_frozen(chunk.slot)) {
    return;
  }
  for (var q = 0u; q < quads; q++) {
    let at = state_at + 4u * q;
    wkv_state[at] = state[q].x;
    wkv_state[at + 1u] = state[q].y;
    wkv_state[at + 2u] = state[q].z;
    wkv_state[at + 3u] = state[q].w;
  }
}
