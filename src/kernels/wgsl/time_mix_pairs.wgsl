// The recurrence of time_mix.wgsl for long chunks, two tokens at a time. With b = kk a, and p = S kk of each token:
//   p1 = S kk1;  p2 = S (w1 kk2) - p1 (b1 . kk2) + v1 (k1 . kk2)
//   y1 = S (w1 r1) - p1 (b1 . r1) + v1 (k1 . r1)
//   y2 = S (w1 w2 r2) - p1 (b1 w2 . r2) + v1 (k1 w2 . r2) - p2 (b2 . r2) + v2 (k2 . r2)
//   S <- S diag(w1 w2) - p1 (b1 w2)^T + v1 (k1 w2)^T - p2 b2^T + v2 k2^T
// so that four sums over S are on their way at once and a pair waits once for its neighbours. Vectors and products of two of
// them do not depend on S: half of the workgroup prepares them for the next BLOCK of tokens while the other half advances S
// through this one. A token beyond the chunk's last is one that leaves S as it is.
// One workgroup: ROWS rows i of S (value channels) of one (chunk, head), as their recurrences do not depend on each other, two
// of them to SHARES neighbours, so that a vector read from workgroup memory serves two; the norm over a head is
// time_mix_norm.wgsl's. Grid: x: heads times HEAD_SIZE / ROWS, y: chunks. Oracle: time_mix_ref.cpp.
//@import time_mix_inputs
//@const HEAD_SIZE 64
// HEAD_SIZE / 4
//@const QUADS 16
//@const ROWS 32
//@const BLOCK 16
// BLOCK / 2
//@const PAIRS 8
//@const AT_ONCE 4
// Neighbours to two rows: each has QUADS_EACH quads of both, own, own + SHARES and so on. pair_sums is made for eight.
//@const SHARES 8
//@const QUADS_EACH 2
//@import share_subgroup
//@import stored
// SHARES neighbours always go the same way; the analysis cannot know it.
diagnostic(off, subgroup_uniformity);

@group(0) @binding(7) var<storage, read_write> y: array<f32>;                // S r: [TOKENS_MAX, n_embd]

const ADVANCING = ROWS / 2u * SHARES;
const PREPARING = PAIRS * SHARES;
const WORKGROUP_SIZE = ADVANCING + PREPARING;

//@repeat Q QUADS_EACH
var<private> even_$Q: vec4<f32>;  // of the first row
var<private> odd_$Q: vec4<f32>;   // of the second
//@end

// Of the block at hand and of the next one; per pair and quad of key channels.
var<workgroup> pair_kk1: array<vec4<f32>, 2u * PAIRS * QUADS>;
var<workgroup> pair_kk2: array<vec4<f32>, 2u * PAIRS * QUADS>;  // w1 kk2
var<workgroup> pair_r1: array<vec4<f32>, 2u * PAIRS * QUADS>;   // w1 r1
var<workgroup> pair_r2: array<vec4<f32>, 2u * PAIRS * QUADS>;   // w1 w2 r2
var<workgroup> pair_w: array<vec4<f32>, 2u * PAIRS * QUADS>;    // w1 w2
var<workgroup> pair_b1: array<vec4<f32>, 2u * PAIRS * QUADS>;   // b1 w2
var<workgroup> pair_k1: array<vec4<f32>, 2u * PAIRS * QUADS>;   // k1 w2
var<workgroup> pair_b2: array<vec4<f32>, 2u * PAIRS * QUADS>;
var<workgroup> pair_k2: array<vec4<f32>, 2u * PAIRS * QUADS>;
// Per pair.
var<workgroup> pair_dots: array<vec2<f32>, 2u * PAIRS>;         // b1 . kk2, k1 . kk2
var<workgroup> pair_y_dots: array<vec4<f32>, 2u * 2u * PAIRS>;  // y1: b1 . r1, k1 . r1, 0, 0; y2: b1 w2 . r2, k1 w2 . r2, b2 . r2, k2 . r2
var<workgroup> pair_v: array<vec2<f32>, 2u * BLOCK * ROWS / 2u>;  // of each token, by two rows

// What a workgroup is about.
struct Rows {
  head_quad: u32,  // the head's first
  first: u32,      // of the rows, in the head
  token: u32,      // the chunk's first
  count: u32,
}

// Of a token that may not be there: one that changes nothing.
fn keys_or_none(rows: Rows, t: u32, quad: u32) -> Keys {
  let keys = keys_at(row_of(rows.token + min(t, rows.count - 1u)), rows.head_quad + quad);
  let there = t < rows.count;
  let none = vec4<f32>();
  return Keys(select(none, keys.r, there), select(vec4(1.0), keys.w, there), select(none, keys.k, there),
              select(none, keys.kk, there), keys.a, select(vec2<f32>(), keys.sums, there));
}

// The pair that begins with token t of the chunk, as pair `at` of those in workgroup memory.
fn prepare_keys(rows: Rows, t: u32, at: u32, own: u32) {
  var squares = vec2<f32>();
  //@repeat Q QUADS_EACH
  let first_$Q = keys_or_none(rows, t, own + $Qu * SHARES);
  let second_$Q = keys_or_none(rows, t + 1u, own + $Qu * SHARES);
  squares += vec2(first_$Q.sums.x, second_$Q.sums.x);
  //@end
  squares = share_sum2(squares);
  let norm1 = inverse_key_norm(squares.x);
  let norm2 = inverse_key_norm(squares.y);
  var dots1 = vec4<f32>();
  var dots2 = vec4<f32>();
  //@repeat Q QUADS_EACH
  {
    let one = first_$Q;
    let two = second_$Q;
    let kk1 = one.kk * norm1;
    let kk2 = two.kk * norm2;
    let b1 = kk1 * one.a;
    let b2 = kk2 * two.a;
    let b1_w2 = b1 * two.w;
    let k1_w2 = one.k * two.w;
    let quad = at * QUADS + own + $Qu * SHARES;
    pair_kk1[quad] = kk1;
    pair_kk2[quad] = kk2 * one.w;
    pair_r1[quad] = one.r * one.w;
    pair_r2[quad] = two.r * two.w * one.w;
    pair_w[quad] = one.w * two.w;
    pair_b1[quad] = b1_w2;
    pair_k1[quad] = k1_w2;
    pair_b2[quad] = b2;
    pair_k2[quad] = two.k;
    dots1 += vec4(dot(b1, kk2), dot(one.k, kk2), dot(b1, one.r), dot(one.k, one.r));
    dots2 += vec4(dot(b1_w2, two.r), dot(k1_w2, two.r), dot(b2, two.r), dot(two.k, two.r));
  }
  //@end
  dots1 = share_sum4(dots1);
  dots2 = share_sum4(dots2);
  if (own == 0u) {
    pair_dots[at] = dots1.xy;
    pair_y_dots[2u * at] = vec4(dots1.zw, 0.0, 0.0);
    pair_y_dots[2u * at + 1u] = dots2;
  }
}

// Values of the workgroup's rows for the two tokens.
fn prepare_values(rows: Rows, t: u32, at: u32, own: u32) {
  for (var item = own; item < ROWS / 2u; item += SHARES) {
    let which = item / (ROWS / 4u);
    let quad = item % (ROWS / 4u);
    let there = t + which < rows.count;
    let row = row_of(rows.token + min(t + which, rows.count - 1u));
    let channels = rows.head_quad + rows.first / 4u + quad;
    let v = select(vec4<f32>(), values_at(row, channels), there);
    if (there && immediates.first_layer == 1u) {
      v_first[row + channels] = Act4(v);
    }
    let to = (2u * at + which) * (ROWS / 2u) + quad * 2u;
    pair_v[to] = v.xy;
    pair_v[to + 1u] = v.zw;
  }
}

fn prepare_block(rows: Rows, block: u32, index: u32) {
  let pair = index / SHARES;
  let t = block * BLOCK + pair * 2u;
  let at = (block & 1u) * PAIRS + pair;
  prepare_values(rows, t, at, index % SHARES);
  prepare_keys(rows, t, at, index % SHARES);
}

// Of both rows the sums p1, p2, y1, y2 over eight neighbours, one to each of them in this order.
fn pair_sums(even: vec4<f32>, odd: vec4<f32>, own: u32) -> f32 {
  let second = (own & 4u) != 0u;
  let of_row = select(even, odd, second) + subgroupShuffleXor(select(odd, even, second), 4u);
  let of_y = (own & 2u) != 0u;
  let both = select(of_row.xy, of_row.zw, of_y) + subgroupShuffleXor(select(of_row.zw, of_row.xy, of_y), 2u);
  let last = (own & 1u) != 0u;
  return select(both.x, both.y, last) + subgroupShuffleXor(select(both.y, both.x, last), 1u);
}

// Takes S through a pair. Gives y of the row and token that are the invocation's, where it has one. group: of two rows.
fn advance_pair(at: u32, group: u32, own: u32, neighbours: u32) -> f32 {
  var even = vec4<f32>();
  var odd = vec4<f32>();
  //@repeat Q QUADS_EACH
  {
    let quad = at * QUADS + own + $Qu * SHARES;
    let kk1 = pair_kk1[quad];
    let kk2 = pair_kk2[quad];
    let r1 = pair_r1[quad];
    let r2 = pair_r2[quad];
    even += vec4(dot(even_$Q, kk1), dot(even_$Q, kk2), dot(even_$Q, r1), dot(even_$Q, r2));
    odd += vec4(dot(odd_$Q, kk1), dot(odd_$Q, kk2), dot(odd_$Q, r1), dot(odd_$Q, r2));
  }
  //@end
  let sum = pair_sums(even, odd, own);
  let v1 = pair_v[2u * at * (ROWS / 2u) + group];
  let v2 = pair_v[(2u * at + 1u) * (ROWS / 2u) + group];
  let dots = pair_dots[at];
  let p1 = vec2(subgroupShuffle(sum, neighbours), subgroupShuffle(sum, neighbours + 4u));
  let p2 = vec2(subgroupShuffle(sum, neighbours + 1u), subgroupShuffle(sum, neighbours + 5u)) - p1 * dots.x + v1 * dots.y;
  //@repeat Q QUADS_EACH
  {
    let quad = at * QUADS + own + $Qu * SHARES;
    let w = pair_w[quad];
    let b1 = pair_b1[quad];
    let k1 = pair_k1[quad];
    let b2 = pair_b2[quad];
    let k2 = pair_k2[quad];
    even_$Q = even_$Q * w - p1.x * b1 + v1.x * k1 - p2.x * b2 + v2.x * k2;
    odd_$Q = odd_$Q * w - p1.y * b1 + v1.y * k1 - p2.y * b2 + v2.y * k2;
  }
  //@end
  let y_dots = pair_y_dots[2u * at + (own & 1u)];
  let changes = -p1 * y_dots.x + v1 * y_dots.y - p2 * y_dots.z + v2 * y_dots.w;
  return sum + select(changes.x, changes.y, own >= 4u);
}

// AT_ONCE pairs without a branch, so that the loads of one run while another is summed; those beyond the chunk's last token
// leave S as it is.
fn advance_block(rows: Rows, block: u32, group: u32, lane: Lane) {
  let own = lane.in_subgroup % SHARES;
  let neighbours = lane.in_subgroup - own;
  let channel = rows.head_quad * 4u + rows.first + group * 2u + own / 4u;
  let at = (block & 1u) * PAIRS;
  let t_block = block * BLOCK;
  let n_pairs = min(PAIRS, (rows.count - t_block + 1u) / 2u);
  for (var pair = 0u; pair < n_pairs; pair += AT_ONCE) {
    //@repeat P AT_ONCE
    let y_$P = advance_pair(at + pair + $Pu, group, own, neighbours);
    //@end
    let t = t_block + 2u * pair + (own & 1u);
    let y_at = (rows.token + t) * immediates.n_embd + channel;
    if ((own & 2u) != 0u) {
      //@repeat P AT_ONCE
      if (t + 2u * $Pu < rows.count) {
        y[y_at + 2u * $Pu * immediates.n_embd] = y_$P;
      }
      //@end
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(lane: Lane, @builtin(workgroup_id) workgroup: vec3<u32>) {
  let chunk = step_chunk(workgroup.y);
  if (workgroup.y >= step_n_chunks() || chunk.count == 0u) {
    return;
  }
  let head = workgroup.x / (HEAD_SIZE / ROWS);
  let rows = Rows(head * QUADS, workgroup.x % (HEAD_SIZE / ROWS) * ROWS, chunk.first, chunk.count);
  let index = lane_index(lane);
  let advances = index < ADVANCING;
  let group = index / SHARES;
  let row = (chunk.slot * (immediates.n_embd / HEAD_SIZE) + head) * HEAD_SIZE + rows.first + group * 2u;
  let state_at = row * QUADS + index % SHARES;
  if (advances) {
    //@repeat Q QUADS_EACH
    even_$Q = state_quad(state_at + $Qu * SHARES);
    odd_$Q = state_quad(state_at + $Qu * SHARES + QUADS);
    //@end
  } else {
    prepare_block(rows, 0u, index - ADVANCING);
  }
  workgroupBarrier();
  for (var block = 0u; block * BLOCK < chunk.count; block++) {
    if (advances) {
      advance_block(rows, block, group, lane);
    } else {
      prepare_block(rows, block + 1u, index - ADVANCING);
    }
    workgroupBarrier();
  }
  if (advances && !control_frozen(chunk.slot)) {
    //@repeat Q QUADS_EACH
    store_state_quad(state_at + $Qu * SHARES, even_$Q);
    store_state_quad(state_at + $Qu * SHARES + QUADS, odd_$Q);
    //@end
  }
}
