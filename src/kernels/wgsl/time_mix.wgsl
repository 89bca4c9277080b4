// The recurrence of the time mix and all that surrounds it per head, for every token of a chunk in turn, after time_mix_inputs.wgsl:
//   S <- S diag(w) - (S kk)(kk a)^T + v k^T;  y = S r
//   out = (group_norm(y) + (sum r k r_k) v) up_g
// One workgroup of HEAD_SIZE times SHARES: one (chunk, head); SHARES neighbours hold row i of S (value channel). BLOCK tokens at
// a time: what does not depend on the state is computed for all of them, then the recurrence runs through them without a
// barrier, then all are normed (or left to time_mix_norm.wgsl, by the module `finish`). Sums over key channels run in the same
// order in every invocation, and for a token in the same order wherever in a block it stands. Reads and writes the head's state
// once per chunk. Grid: x: heads, y: chunks.
// Oracle: time_mix_ref.cpp.
//@import time_mix_inputs
//@const HEAD_SIZE 64
//@const BLOCK 8
// HEAD_SIZE / 4
//@const QUADS 16
//@const SHARES 1
//@import share
//@import stored
//@import state
//@import finish

const WORKGROUP_SIZE = HEAD_SIZE * SHARES;

// Per token of the block and four key channels j.
var<workgroup> head_r: array<vec4<f32>, BLOCK * QUADS>;
var<workgroup> head_w: array<vec4<f32>, BLOCK * QUADS>;
var<workgroup> head_k: array<vec4<f32>, BLOCK * QUADS>;
var<workgroup> head_kk: array<vec4<f32>, BLOCK * QUADS>;      // not yet normalised
var<workgroup> head_remove: array<vec4<f32>, BLOCK * QUADS>;  // kk * a
var<workgroup> head_sums: array<vec2<f32>, BLOCK * QUADS>;    // of kk^2 and of the bonus r * k * r_k; later of y, of its squares
// Per token.
var<workgroup> head_totals: array<vec2<f32>, BLOCK>;  // 1 / |kk|^2, bonus
var<workgroup> head_v: array<f32, BLOCK * HEAD_SIZE>;
var<workgroup> head_y: array<f32, BLOCK * HEAD_SIZE>;

// Puts r, w, k, kk, kk * a and v of four channels where the whole head sees them, and their sums. at: in the block;
// quad: of the vectors; row: the token's first quad.
fn publish(row: u32, quad: u32, at: u32) {
  let keys = keys_at(row, quad);
  let v = values_at(row, quad);
  if (immediates.first_layer == 1u) {
    v_first[row + quad] = Act4(v);
  }
  head_r[at] = keys.r;
  head_w[at] = keys.w;
  head_k[at] = keys.k;
  head_kk[at] = keys.kk;
  head_remove[at] = keys.kk * keys.a;
  head_sums[at] = keys.sums;
  head_v[at * 4u] = v.x;
  head_v[at * 4u + 1u] = v.y;
  head_v[at * 4u + 2u] = v.z;
  head_v[at * 4u + 3u] = v.w;
}

// Sums over the quads of token t.
fn token_sums(t: u32) -> vec2<f32> {
  var totals = vec2<f32>();
  for (var q = 0u; q < loop_end(QUADS); q++) {
    totals += head_sums[t * QUADS + q];
  }
  return totals;
}

// All that a block's tokens need before the recurrence.
fn prepare(token_first: u32, count: u32, head_quad: u32, index: u32) {
  for (var item = index; item < count * QUADS; item += WORKGROUP_SIZE) {
    publish(row_of(token_first + item / QUADS), head_quad + item % QUADS, item);
  }
  workgroupBarrier();
  if (index < count) {
    let totals = token_sums(index);
    let inverse_norm = inverse_key_norm(totals.x);
    head_totals[index] = vec2(inverse_norm * inverse_norm, totals.y);
  }
  workgroupBarrier();
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(lane: Lane, @builtin(workgroup_id) workgroup: vec3<u32>) {
  if (workgroup.y >= step_n_chunks()) {
    return;
  }
  let chunk = step_chunk(workgroup.y);
  let head_quad = workgroup.x * QUADS;
  let index = lane_index(lane);
  let i = index / SHARES;
  let share = index % SHARES;
  let state_at = ((chunk.slot * (immediates.n_embd / HEAD_SIZE) + workgroup.x) * HEAD_SIZE + i) * QUADS + share;
  load_state(state_at);
  for (var done = 0u; done < chunk.count; done += BLOCK) {
    let count = min(chunk.count - done, BLOCK);
    prepare(chunk.first + done, count, head_quad, index);
    for (var t = 0u; t < count; t++) {
      let v = head_v[t * HEAD_SIZE + i];
      let at = t * QUADS + share;
      let removed = share_sum(state_times_kk(at)) * head_totals[t].x;
      let y = share_sum(advance_state(at, removed, v));
      if (share == 0u) {
        head_y[t * HEAD_SIZE + i] = y;
      }
    }
    finish(chunk.first + done, count, head_quad, index);
  }
  if (control_frozen(chunk.slot)) {
    return;
  }
  store_state(state_at);
}
