// All layers of one token, and its logits, in one dispatch or in one for each stage: two normed products, the time mix and two
// plain products a layer, then the head (kernels/token.hpp has the table of stages). Workgroups share the rows of each
// product; what one stage hands to the next goes through atomics, which alone are seen across workgroups. Between the stages
// of one dispatch all workgroups wait for each other (grid_barrier): that needs as many as the device surely runs at a time.
// One that waits too long says so in STALLED and all leave.
// Grid: x: workgroups, as many as the table is made for. Oracle: rwkv7_ref.cpp.
enable f16;
enable subgroups;
diagnostic(off, subgroup_uniformity);
//@import octet
//@import step
//@import control
//@import activation
//@import control_layout
//@import stored
//@import grid_barrier
//@const WORKGROUP_SIZE 1024
// Neighbours that sum without a barrier: HEAD_SIZE rows of the wkv state have as many each.
//@const LANES 16
//@const N_FORMATS 1
//@const N_EMBD 2560
//@const HEAD_SIZE 64
// Octets of the longest input.
//@const INPUT_OCTETS 1280
// Elements of the residual stream, words of a product's input, octets of an up-projection and quads of a row of the state that
// an invocation takes.
//@const EACH 3
//@const WORDS_EACH 5
//@const UP_EACH 12
//@const KEYS_EACH 1
//@const UNIT_OCTETS 4
//@const SPAN_OCTETS 8
// 1: rows of one of the formats lie together. 0 leaves the compiler nothing of what that takes: the registers that it takes are
// those of F16's loads, whose decode was a fifth slower with them.
//@const ANY_TOGETHER 0
// Of a team whose invocations are not neighbours (Piece.beside), those that sum without a barrier.
//@const NEAR 2
//@const TIME_MIX_VECTORS 8
// Where things lie in `shared`, in words, after the residual stream of all tokens. All but V_FIRST and KEPT are pairs of f16.
//@const R_K_V 0
//@const V_FIRST 0
//@const KEPT 0
//@const GATED 0

@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> table: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> shared_words: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> shift_states: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> logits: array<f32>;

struct Immediates {
  stage_begin: u32,
  stage_end: u32,
  n_stages: u32,  // of the table
  norm_epsilon: f32,
  group_norm_epsilon: f32,
  census: u32,  // 1: only to find how many workgroups run at a time
}
var<immediate> immediates: Immediates;

//@repeat F N_FORMATS
//@import span as _$F
//@end

// What a stage does with its input before the product.
const PLAIN = 0u;     // reads it
const NORMED = 1u;    // layer norm of the residual stream, then the token shift if there is one
const TIME_MIX = 2u;  // and no product
const NONE = 0xffffffffu;

struct Stage {
  kind: u32,
  n_in: u32,
  input: u32,    // word of `shared_words`
  vectors: u32,  // quads of `weights`: layer norm's weight, bias, x_m...; or those of the time mix
  shift: u32,    // quads of shift_states, NONE without token shift
  kept: u32,     // likewise: where a stage writes what the one before it has kept as its shift state
  wkv: u32,      // quads of wkv_states
  first_layer: u32,
  up: vec4<u32>,     // of w a v g: quads of `weights`
  ranks: vec4<u32>,
  lows: vec4<u32>,  // words of `shared_words`
  up_lanes: vec4<u32>,  // invocations for each channel of w a v g, a power of two
}

// One workgroup's share of a stage's product: rows of one matrix.
struct Piece {
  weights: u32,  // quads, of the matrix
  row_quads: u32,
  n_rows: u32,   // even
  format: u32,
  team: u32,     // invocations that sum a pair of rows, a multiple of 4
  mix: u32,      // which x_m its input is mixed by
  to: u32,       // ACT: pairs of f16, to that word; RESIDUAL: added from that row on; LOGITS: from that row on
  output: u32,
  activation: u32,
  scale: f32,
  paired: u32,  // 1: words of an octet of inputs are elements 0 and 2, 1 and 3, 4 and 6, 5 and 7 (halves2.wgsl)
  together: u32,  // rows of the format that lie together (rows_together.wgsl), or 1
  beside: u32,  // teams whose invocations take turns, each with the next pair of rows, as a power of two; 0: neighbours are of a team
}
const ACT = 0u;
const RESIDUAL = 1u;
const LOGITS = 2u;

const STAGE_QUADS = 6u;
const PIECE_QUADS = 3u;

const TABLE_QUADS = STAGE_QUADS + PIECE_QUADS;

// Quad `i` of what the table has of a stage for a workgroup: the stage, then the workgroup's piece.
fn table_quad(i: u32, stage: u32, workgroup: u32, n_workgroups: u32) -> vec4<u32> {
  let piece = immediates.n_stages * STAGE_QUADS + (stage * n_workgroups + workgroup) * PIECE_QUADS;
  return table[select(piece + i - STAGE_QUADS, stage * STAGE_QUADS + i, i < STAGE_QUADS)];
}

// This stage's and the next one's, in turn: they are asked for a stage ahead.
struct Entry {
  quads: array<vec4<u32>, TABLE_QUADS>,
}
var<workgroup> entries: array<Entry, 2>;

fn stage_of(entry: Entry) -> Stage {
  let a = entry.quads[0];
  let b = entry.quads[1];
  return Stage(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, entry.quads[2], entry.quads[3], entry.quads[4], entry.quads[5]);
}

fn piece_of(entry: Entry) -> Piece {
  let a = entry.quads[STAGE_QUADS];
  let b = entry.quads[STAGE_QUADS + 1u];
  let c = entry.quads[STAGE_QUADS + 2u];
  let together = select(1u, (c.z >> 1u) & 15u, ANY_TOGETHER == 1u);
  let beside = select(0u, c.z >> 5u, ANY_TOGETHER == 1u);
  return Piece(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, c.x, bitcast<f32>(c.y), c.z & 1u, together, beside);
}

// Octets of f16, with a gap after each eight: neighbours read spans of eight, whose parts then lie in different banks.
var<workgroup> inputs: array<vec4<u32>, INPUT_OCTETS / 8u * 9u + 8u>;
var<workgroup> input_sums: array<vec4<f32>, INPUT_OCTETS / 4u>;  // of each octet
// Sums of four neighbours, or NEAR of a team; in the time mix the up-projections of a head, by channel.
var<workgroup> parts: array<vec2<f32>, WORKGROUP_SIZE / min(NEAR, 4u)>;
// Of a head, by channel.
var<workgroup> head_r: array<vec4<f32>, HEAD_SIZE / 4u>;
var<workgroup> head_w: array<vec4<f32>, HEAD_SIZE / 4u>;
var<workgroup> head_k: array<vec4<f32>, HEAD_SIZE / 4u>;
var<workgroup> head_kk: array<vec4<f32>, HEAD_SIZE / 4u>;
var<workgroup> head_remove: array<vec4<f32>, HEAD_SIZE / 4u>;
var<workgroup> head_v: array<f32, HEAD_SIZE>;
var<workgroup> head_y: array<vec4<f32>, HEAD_SIZE / 4u>;
var<workgroup> head_sums: array<vec4<f32>, HEAD_SIZE / 4u>;  // two: parts of sums over the head's channels

fn shared_f32(at: u32) -> f32 { return bitcast<f32>(atomicLoad(&shared_words[at])); }
fn shared_pair(at: u32) -> vec2<f32> { return unpack2x16float(atomicLoad(&shared_words[at])); }
fn packed(pair: vec2<f32>) -> u32 { return bitcast<u32>(vec2<f16>(pair)); }
fn share_f32(at: u32, value: f32) { share(at, bitcast<u32>(value)); }

fn shared_quad(at: u32) -> vec4<f32> {
  return vec4(shared_f32(at), shared_f32(at + 1u), shared_f32(at + 2u), shared_f32(at + 3u));
}

fn vector_quad(at: u32) -> vec4<f32> { return bitcast<vec4<f32>>(weights[at]); }

fn input_at(octet: u32) -> u32 { return octet + octet / 8u; }

fn octet_of_input(octet: u32) -> Octet {
  let halves = inputs[input_at(octet)];
  return Octet(vec4(unpack2x16float(halves.x), unpack2x16float(halves.y)), vec4(unpack2x16float(halves.z), unpack2x16float(halves.w)));
}

// The sum over those of `count` neighbours that lie `step` apart, powers of two; all at most LANES, or 4 NEAR.
fn neighbours_sum(value: vec2<f32>, step: u32, count: u32) -> vec2<f32> {
  var sum = value;
  for (var distance = step; distance < count; distance *= 2u) {
    sum += subgroupShuffleXor(sum, distance);
  }
  return sum;
}

fn neighbours_sum1(value: f32, count: u32) -> f32 {
  var sum = value;
  for (var distance = 1u; distance < count; distance *= 2u) {
    sum += subgroupShuffleXor(sum, distance);
  }
  return sum;
}

// The sum over all invocations, known to all.
fn sum_of_all(value: f32, lane: u32) -> f32 {
  let part = neighbours_sum1(value, LANES);
  if (lane % LANES == 0u) {
    parts[lane / LANES].x = part;
  }
  workgroupBarrier();
  var total = 0.0;
  for (var i = lane % LANES; i < WORKGROUP_SIZE / LANES; i += LANES) {
    total += parts[i].x;
  }
  total = neighbours_sum1(total, LANES);
  workgroupBarrier();
  return total;
}

// NaN among the logits, for whoever looks at them: in the first row, and in the one that this workgroup would have written.
fn give_up(workgroup: u32, n_workgroups: u32, lane: u32) {
  if (lane == 0u) {
    let not_a_number = bitcast<f32>(0x7fc00000u | atomicLoad(&shared_words[STALLED]));
    logits[0] = not_a_number;
    logits[table_quad(STAGE_QUADS + 1u, immediates.n_stages - 1u, workgroup, n_workgroups).w] = not_a_number;
  }
}

// What the normed input needs that no other stage has touched.
struct NormFactors {
  weight: array<f32, EACH>,
  bias: array<f32, EACH>,
  previous: array<f32, EACH>,
  mix: array<f32, EACH>,
}

fn element(at: u32, d: u32) -> f32 { return bitcast<f32>(weights[at + d / 4u][d & 3u]); }

fn norm_factors(stage: Stage, piece: Piece, slot: u32, lane: u32) -> NormFactors {
  var factors: NormFactors;
  //@repeat E EACH
  {
    let d = min(lane + $Eu * WORKGROUP_SIZE, N_EMBD - 1u);
    factors.weight[$E] = element(stage.vectors, d);
    factors.bias[$E] = element(stage.vectors + N_EMBD / 4u, d);
    if (stage.shift != NONE) {
      factors.previous[$E] = shift_states[stage.shift + slot * (N_EMBD / 4u) + d / 4u][d & 3u];
      factors.mix[$E] = element(stage.vectors + (2u + piece.mix) * (N_EMBD / 4u), d);
    }
  }
  //@end
  return factors;
}

fn normed_input(stage: Stage, piece: Piece, factors: NormFactors, workgroup: u32, lane: u32) {
  var sum = 0.0;
  //@repeat E EACH
  let d_$E = lane + $Eu * WORKGROUP_SIZE;
  let there_$E = d_$E < N_EMBD;
  var x_$E = 0.0;
  if (there_$E) {
    x_$E = shared_f32(d_$E);
  }
  //@end
  //@repeat E EACH
  sum += x_$E;
  //@end
  let mean = sum_of_all(sum, lane) / f32(N_EMBD);
  sum = 0.0;
  //@repeat E EACH
  x_$E = select(0.0, x_$E - mean, there_$E);
  sum += x_$E * x_$E;
  //@end
  let scale = 1.0 / sqrt(sum_of_all(sum, lane) / f32(N_EMBD) + immediates.norm_epsilon);
  let paired = piece.paired == 1u;
  //@repeat E EACH
  {
    var value = x_$E * scale * factors.weight[$E] + factors.bias[$E];
    if (workgroup == 0u && there_$E) {
      share_f32(KEPT + d_$E, value);
    }
    value = f32(f16(value + (factors.previous[$E] - value) * factors.mix[$E]));
    let octet_sum = neighbours_sum1(value, 8u);
    let other = subgroupShuffleXor(value, select(1u, 2u, paired));
    if (there_$E && (d_$E & select(1u, 2u, paired)) == 0u) {
      let word = select(d_$E / 2u, d_$E / 4u * 2u + (d_$E & 1u), paired);
      inputs[input_at(word / 4u)][word & 3u] = packed(vec2(value, other));
      if ((d_$E & 7u) == 0u) {
        input_sums[d_$E / 32u][(d_$E / 8u) & 3u] = octet_sum;
      }
    }
  }
  //@end
}

fn plain_input(stage: Stage, piece: Piece, lane: u32) {
  let n_words = stage.n_in / 2u;
  //@repeat E WORDS_EACH
  let word_$E = lane + $Eu * WORKGROUP_SIZE;
  var pair_$E = 0u;
  if (word_$E < n_words) {
    pair_$E = atomicLoad(&shared_words[stage.input + word_$E]);
  }
  //@end
  //@repeat E WORDS_EACH
  {
    let sum = neighbours_sum1(dot(unpack2x16float(pair_$E), vec2(1.0)), 4u);
    let other = subgroupShuffleXor(pair_$E, 1u);
    let even = (pair_$E & 0xffffu) | (other << 16u);
    let odd = (other >> 16u) | (pair_$E & 0xffff0000u);
    if (word_$E < n_words) {
      inputs[input_at(word_$E / 4u)][word_$E & 3u] = select(pair_$E, select(even, odd, (lane & 1u) == 1u), piece.paired == 1u);
      if ((lane & 3u) == 0u) {
        input_sums[word_$E / 16u][(word_$E / 4u) & 3u] = sum;
      }
    }
  }
  //@end
}

// Quad `at` of a row of a piece.
fn row_quad(piece: Piece, row: u32, at: u32) -> u32 {
  let place = row & (piece.together - 1u);
  return piece.weights + (row - place) * piece.row_quads + at * piece.together + place;
}

//@repeat F N_FORMATS
// Part of two rows times the input: the spans of 64 weights from `first` on, every team-th.
fn row_dots_$F(piece: Piece, pair: u32, n_in: u32, first: u32) -> vec2<f32> {
  let row = row_quad(piece, 2u * pair, 0u) * 4u;
  let next_row = row_quad(piece, 2u * pair + 1u, 0u) * 4u;
  let n_spans = n_in / 64u;
  var sums = vec2<f32>();
  for (var span = first; span < n_spans; span += piece.team) {
    sums += span_dots_$F(load_span_$F(row, n_in, span), load_span_$F(next_row, n_in, span), span);
  }
  return sums;
}
//@end

fn store_pair(piece: Piece, pair: u32, sums: vec2<f32>) {
  let row = piece.output + 2u * pair;
  if (piece.to == RESIDUAL) {
    share_f32(row, shared_f32(row) + sums.x * piece.scale);
    share_f32(row + 1u, shared_f32(row + 1u) + sums.y * piece.scale);
  } else if (piece.to == LOGITS) {
    logits[row] = sums.x;
    logits[row + 1u] = sums.y;
  } else {
    let values = vec2(activate(sums.x, piece.activation), activate(sums.y, piece.activation));
    share(piece.output + pair, packed(values));
  }
}

// How many a workgroup takes at a time.
fn pair_slots(piece: Piece) -> u32 { return (WORKGROUP_SIZE / (piece.team << piece.beside)) << piece.beside; }

// The place of an invocation's team among those that take turns, after `n` times as many.
fn in_turn(piece: Piece, n: u32, lane: u32) -> u32 { return (n << piece.beside) + (lane & ((1u << piece.beside) - 1u)); }

// Which of them an invocation multiplies, and which of the pair's it is.
fn own_slot(piece: Piece, lane: u32) -> vec2<u32> {
  let size = piece.team << piece.beside;
  let teams = lane / size;
  return vec2(in_turn(piece, teams, lane), (lane - teams * size) >> piece.beside);
}

// Asks for what an invocation multiplies first, about, so that it is near when the input is there.
fn touch(piece: Piece, n_in: u32, lane: u32) -> u32 {
  let own = own_slot(piece, lane);
  let row = 2u * own.x;
  let at = own.y * piece.row_quads / (n_in / 64u);
  if (row >= piece.n_rows || at >= piece.row_quads) {
    return 0u;
  }
  return weights[row_quad(piece, row, at)].x ^ weights[row_quad(piece, row + 1u, at)].x;
}

fn multiply(piece: Piece, n_in: u32, lane: u32) {
  let n_pairs = piece.n_rows / 2u;
  let n_slots = pair_slots(piece);
  let own = own_slot(piece, lane);
  // As a power of two.
  let near = select(firstTrailingBit(NEAR), 2u, piece.beside == 0u);
  for (var first = 0u; first < n_pairs; first += n_slots) {
    if (first > 0u) {
      workgroupBarrier();
    }
    let pair = first + own.x;
    var sums = vec2<f32>();
    if (own.x < n_slots && pair < n_pairs) {
      switch piece.format {
        //@repeat F N_FORMATS
        case $Fu: { sums = row_dots_$F(piece, pair, n_in, own.y); }
        //@end
        default: {}
      }
    }
    sums = neighbours_sum(sums, 1u << piece.beside, 1u << (near + piece.beside));
    if (((lane >> piece.beside) & ((1u << near) - 1u)) == 0u) {
      parts[in_turn(piece, lane >> (piece.beside + near), lane)] = sums;
    }
    workgroupBarrier();
    let stored = first + lane;
    if (lane < n_slots && stored < n_pairs) {
      var total = vec2<f32>();
      let n_parts = piece.team >> near;
      for (var i = 0u; i < n_parts; i++) {
        total += parts[in_turn(piece, (lane >> piece.beside) * n_parts + i, lane)];
      }
      store_pair(piece, stored, total);
    }
  }
}

// The sum over all quads of what the channels of a head have put into head_sums.
fn head_total(which: u32) -> f32 {
  var total = vec4<f32>();
  for (var i = 0u; i < HEAD_SIZE / 8u; i++) {
    total += head_sums[which * (HEAD_SIZE / 8u) + i];
  }
  return dot(total, vec4(1.0));
}

const EXP_MINUS_HALF = 0.6065306597126334;
const KEY_NORM_EPSILON = 1e-12;

// What the time mix of a head needs that no other stage has touched: each invocation's share of a row of the state and of an
// up-projection, and a channel's factors.
struct HeadWeights {
  state: array<vec4<f32>, KEYS_EACH>,
  up: array<vec4<u32>, UP_EACH>,
  factors: array<f32, 8>,
}

// Which channel's up-projection an invocation shares.
struct UpShare {
  row: u32,       // of the up-projections; 4 HEAD_SIZE: none
  at: u32,        // quads of `weights`
  low: u32,       // octets of `inputs`
  n_octets: u32,
  lanes: u32,
  own: u32,       // among these
}

fn up_share(stage: Stage, head: u32, lane: u32) -> UpShare {
  let lanes = HEAD_SIZE * stage.up_lanes;
  let ends = vec3(lanes.x, lanes.x + lanes.y, lanes.x + lanes.y + lanes.z);
  let low_ends = vec3(stage.ranks.x, stage.ranks.x + stage.ranks.y, stage.ranks.x + stage.ranks.y + stage.ranks.z) / 8u;
  var m = 0u;
  var begin = 0u;
  var share = UpShare(0u, stage.up.x, 0u, stage.ranks.x / 8u, stage.up_lanes.x, 0u);
  if (lane >= ends.z) {
    m = 3u;
    begin = ends.z;
    share = UpShare(0u, stage.up.w, low_ends.z, stage.ranks.w / 8u, stage.up_lanes.w, 0u);
  } else if (lane >= ends.y) {
    m = 2u;
    begin = ends.y;
    share = UpShare(0u, stage.up.z, low_ends.y, stage.ranks.z / 8u, stage.up_lanes.z, 0u);
  } else if (lane >= ends.x) {
    m = 1u;
    begin = ends.x;
    share = UpShare(0u, stage.up.y, low_ends.x, stage.ranks.y / 8u, stage.up_lanes.y, 0u);
  }
  let channel = (lane - begin) / share.lanes;
  share.own = (lane - begin) % share.lanes;
  share.row = m * HEAD_SIZE + channel;
  if (channel >= HEAD_SIZE) {
    share.row = 4u * HEAD_SIZE;
    share.n_octets = 0u;
  }
  share.at += (head * HEAD_SIZE + channel) * share.n_octets;
  return share;
}

fn head_weights(stage: Stage, share: UpShare, state_at: u32, head: u32, lane: u32) -> HeadWeights {
  var result: HeadWeights;
  //@repeat E UP_EACH
  if (share.own + $Eu * share.lanes < share.n_octets) {
    result.up[$E] = weights[share.at + share.own + $Eu * share.lanes];
  }
  //@end
  //@repeat Q KEYS_EACH
  result.state[$Q] = state_quad(state_at + $Qu * LANES);
  //@end
  if (lane < HEAD_SIZE) {
    let channel = head * HEAD_SIZE + lane;
    //@repeat V TIME_MIX_VECTORS
    result.factors[$V] = element(stage.vectors + $Vu * (N_EMBD / 4u), channel);
    //@end
  }
  return result;
}

// The low-rank inputs, one after another.
fn stage_lows(stage: Stage, lane: u32) {
  let ends = vec3(stage.ranks.x, stage.ranks.x + stage.ranks.y, stage.ranks.x + stage.ranks.y + stage.ranks.z) / 2u;
  for (var i = lane; i < ends.z + stage.ranks.w / 2u; i += WORKGROUP_SIZE) {
    var word = stage.lows.x + i;
    word = select(word, stage.lows.y + i - ends.x, i >= ends.x);
    word = select(word, stage.lows.z + i - ends.y, i >= ends.y);
    word = select(word, stage.lows.w + i - ends.z, i >= ends.z);
    inputs[input_at(i / 4u)][i & 3u] = atomicLoad(&shared_words[word]);
  }
}

fn head_ups(share: UpShare, own: HeadWeights, lane: u32) {
  var sum = 0.0;
  //@repeat E UP_EACH
  if (share.own + $Eu * share.lanes < share.n_octets) {
    let w = own.up[$E];
    let x = octet_of_input(share.low + share.own + $Eu * share.lanes);
    sum += dot8(Octet(vec4(unpack2x16float(w.x), unpack2x16float(w.y)), vec4(unpack2x16float(w.z), unpack2x16float(w.w))), x);
  }
  //@end
  for (var distance = 1u; distance < LANES; distance *= 2u) {
    let other = subgroupShuffleXor(sum, distance);
    sum += select(0.0, other, distance < share.lanes);
  }
  if (share.own == 0u && share.row < 4u * HEAD_SIZE) {
    parts[share.row / 2u][share.row & 1u] = sum;
  }
}

// Of w a v g.
fn up_projection(which: u32, c: u32) -> f32 { return parts[(which * HEAD_SIZE + c) / 2u][c & 1u]; }

// What a head's recurrence needs of channel c. values: r k v and the first layer's v.
fn prepare_head(stage: Stage, own: HeadWeights, values: vec4<f32>, head: u32, c: u32) {
  let factors = own.factors;
  var v = values.z;
  if (stage.first_layer == 1u) {
    share_f32(V_FIRST + head * HEAD_SIZE + c, v);
  } else {
    v += (values.w - v) * logistic(factors[2] + up_projection(2u, c));
  }
  let a = logistic(factors[1] + up_projection(1u, c));
  let k = values.y * (1.0 + (a - 1.0) * factors[4]);
  let kk = values.y * factors[3];
  let quad = c / 4u;
  let part = c & 3u;
  head_r[quad][part] = values.x;
  head_w[quad][part] = exp(-EXP_MINUS_HALF * logistic(factors[0] + up_projection(0u, c)));
  head_k[quad][part] = k;
  head_kk[quad][part] = kk;
  head_remove[quad][part] = kk * a;
  head_v[c] = v;
  let sums = neighbours_sum(vec2(kk * kk, values.x * k * factors[5]), 1u, 2u);
  if ((c & 1u) == 0u) {
    head_sums[c / 8u][(c / 2u) & 3u] = sums.x;
    head_sums[HEAD_SIZE / 8u + c / 8u][(c / 2u) & 3u] = sums.y;
  }
}

// Group norm, bonus and gate.
fn finish_head(factors: array<f32, 8>, head: u32, bonus: f32, c: u32) {
  var total = vec4<f32>();
  for (var q = 0u; q < HEAD_SIZE / 4u; q++) {
    total += head_y[q];
  }
  let mean = dot(total, vec4(1.0)) / f32(HEAD_SIZE);
  total = vec4<f32>();
  for (var q = 0u; q < HEAD_SIZE / 4u; q++) {
    total += (head_y[q] - mean) * (head_y[q] - mean);
  }
  let scale = 1.0 / sqrt(dot(total, vec4(1.0)) / f32(HEAD_SIZE) + immediates.group_norm_epsilon);
  let channel = head * HEAD_SIZE + c;
  let normed = (head_y[c / 4u][c & 3u] - mean) * scale * factors[6] + factors[7];
  let gated = (normed + bonus * head_v[c]) * up_projection(3u, c);
  let other = subgroupShuffleXor(gated, 1u);
  if ((c & 1u) == 0u) {
    share(GATED + channel / 2u, packed(vec2(gated, other)));
  }
}

// Whether all went well; `target_count` as in wait, before the first head.
fn time_mix(stage: Stage, head: u32, slot: u32, frozen: bool, target_count: u32, lane: u32) -> bool {
  // LANES to a row of the state.
  let i = lane / LANES;
  let own = lane % LANES;
  let state_at = stage.wkv + ((slot * (N_EMBD / HEAD_SIZE) + head) * HEAD_SIZE + i) * (HEAD_SIZE / 4u) + own;
  let share = up_share(stage, head, lane);
  let loaded = head_weights(stage, share, state_at, head, lane);
  if (target_count > 0u && !wait(target_count, lane)) {
    return false;
  }
  var values = vec4<f32>();
  if (lane < HEAD_SIZE) {
    let channel = head * HEAD_SIZE + lane;
    let half = channel & 1u;
    values = vec4(shared_pair(R_K_V + channel / 2u)[half], shared_pair(R_K_V + (N_EMBD + channel) / 2u)[half],
                  shared_pair(R_K_V + (2u * N_EMBD + channel) / 2u)[half], shared_f32(V_FIRST + channel));
  }
  stage_lows(stage, lane);
  workgroupBarrier();
  head_ups(share, loaded, lane);
  workgroupBarrier();
  if (lane < HEAD_SIZE) {
    prepare_head(stage, loaded, values, head, lane);
  }
  workgroupBarrier();
  let inverse_norm = 1.0 / max(sqrt(head_total(0u)), KEY_NORM_EPSILON);
  let v = head_v[i];
  var sum = 0.0;
  //@repeat Q KEYS_EACH
  sum += dot(loaded.state[$Q], head_kk[own + $Qu * LANES]);
  //@end
  let removed = neighbours_sum1(sum, LANES) * inverse_norm * inverse_norm;
  sum = 0.0;
  //@repeat Q KEYS_EACH
  {
    let at = own + $Qu * LANES;
    let state = loaded.state[$Q] * head_w[at] - removed * head_remove[at] + v * head_k[at];
    sum += dot(state, head_r[at]);
    if (!frozen) {
      store_state_quad(state_at + $Qu * LANES, state);
    }
  }
  //@end
  let y = neighbours_sum1(sum, LANES);
  if (own == 0u) {
    head_y[i / 4u][i & 3u] = y;
  }
  workgroupBarrier();
  if (lane < HEAD_SIZE) {
    finish_head(loaded.factors, head, head_total(1u), lane);
  }
  workgroupBarrier();
  return true;
}

// What the stage before has kept, its normed residual stream, becomes its shift state.
fn store_shift(stage: Stage, slot: u32, lane: u32) {
  for (var quad = lane; quad < N_EMBD / 4u; quad += WORKGROUP_SIZE) {
    shift_states[stage.kept + slot * (N_EMBD / 4u) + quad] = shared_quad(KEPT + 4u * quad);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let workgroup = id.x;
  let n_workgroups = grid.x;
  if (immediates.census == 1u) {
    census(lane);
    return;
  }
  let slot = step_chunk(0u).slot;
  let frozen = control_frozen(slot);
  var sink = 0u;
  if (lane < TABLE_QUADS) {
    entries[0].quads[lane] = table_quad(lane, immediates.stage_begin, workgroup, n_workgroups);
  }
  for (var s = immediates.stage_begin; s < immediates.stage_end; s++) {
    let turn = (s - immediates.stage_begin) & 1u;
    let entry = workgroupUniformLoad(&entries[turn]);
    let stage = stage_of(entry);
    let piece = piece_of(entry);
    let target_count = (s - immediates.stage_begin) * n_workgroups;
    if (s > immediates.stage_begin) {
      arrive(lane);
    }
    var next_entry = vec4<u32>();
    if (lane < TABLE_QUADS) {
      next_entry = table_quad(lane, min(s + 1u, immediates.n_stages - 1u), workgroup, n_workgroups);
    }
    if (stage.kind == TIME_MIX && workgroup < N_EMBD / HEAD_SIZE) {
      for (var head = workgroup; head < N_EMBD / HEAD_SIZE; head += n_workgroups) {
        if (!time_mix(stage, head, slot, frozen, select(0u, target_count, head == workgroup), lane)) {
          give_up(workgroup, n_workgroups, lane);
          return;
        }
      }
    } else {
      var factors: NormFactors;
      if (stage.kind == NORMED) {
        factors = norm_factors(stage, piece, slot, lane);
      }
      let touched = touch(piece, stage.n_in, lane);
      if (target_count > 0u && !wait(target_count, lane)) {
        give_up(workgroup, n_workgroups, lane);
        return;
      }
      sink ^= touched;
      if (stage.kind == NORMED) {
        normed_input(stage, piece, factors, workgroup, lane);
      } else if (stage.kind == PLAIN) {
        plain_input(stage, piece, lane);
      }
      workgroupBarrier();
      if (stage.kind != TIME_MIX) {
        multiply(piece, stage.n_in, lane);
      }
    }
    if (stage.kept != NONE && workgroup == n_workgroups - 1u && !frozen) {
      store_shift(stage, slot, lane);
    }
    if (lane < TABLE_QUADS) {
      entries[1u - turn].quads[lane] = next_entry;
    }
  }
  // Never: but the compiler has to believe in what is asked for ahead.
  if ((sink ^ unlikely) == 1u && immediates.n_stages == 0u) {
    atomicStore(&shared_words[STALLED], sink);
  }
  if (immediates.stage_end > immediates.stage_begin + 1u) {
    leave(n_workgroups, lane);
  }
}
