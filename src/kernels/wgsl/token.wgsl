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
//@const WORKGROUP_SIZE 1024
// Neighbours that sum without a barrier: HEAD_SIZE rows of the wkv state have as many each.
//@const LANES 16
//@const N_FORMATS 1
//@const N_EMBD 2560
//@const HEAD_SIZE 64
// Octets of the longest input.
//@const INPUT_OCTETS 1280
// Quads of the residual stream, words of a product's input, octets of an up-projection and quads of a row of the state that
// an invocation takes.
//@const QUADS_EACH 1
//@const WORDS_EACH 5
//@const UP_EACH 10
//@const KEYS_EACH 1
//@const UNIT_HALVES 2
// Where things lie in `shared`, in words, after the residual stream of all tokens. All but V_FIRST and KEPT are pairs of f16.
//@const ARRIVED 0
//@const R_K_V 0
//@const V_FIRST 0
//@const KEPT 0
//@const GATED 0

@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> table: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> shared_words: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> shift_states: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> wkv_states: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> logits: array<f32>;

struct Immediates {
  stage_begin: u32,
  stage_end: u32,
  n_stages: u32,  // of the table
  norm_epsilon: f32,
  group_norm_epsilon: f32,
}
var<immediate> immediates: Immediates;

//@repeat F N_FORMATS
//@import format_$F as _$F
//@end

const STALLED = ARRIVED + 1u;
const LEFT = ARRIVED + 2u;
const SPINS_MAX = 4000000u;

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
}

// One workgroup's share of a stage's product: rows of one matrix.
struct Piece {
  weights: u32,  // quads
  row_quads: u32,
  n_rows: u32,   // even
  format: u32,
  team: u32,     // invocations that sum a pair of rows: LANES times a power of two
  mix: u32,      // which x_m its input is mixed by
  to: u32,       // ACT: pairs of f16, to that word; RESIDUAL: added from that row on; LOGITS: from that row on
  output: u32,
  activation: u32,
  scale: f32,
}
const ACT = 0u;
const RESIDUAL = 1u;
const LOGITS = 2u;

const STAGE_QUADS = 5u;
const PIECE_QUADS = 3u;

fn stage_at(index: u32) -> Stage {
  let at = index * STAGE_QUADS;
  let a = table[at];
  let b = table[at + 1u];
  return Stage(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, table[at + 2u], table[at + 3u], table[at + 4u]);
}

fn piece_at(index: u32, workgroup: u32, n_workgroups: u32) -> Piece {
  let at = immediates.n_stages * STAGE_QUADS + (index * n_workgroups + workgroup) * PIECE_QUADS;
  let a = table[at];
  let b = table[at + 1u];
  let c = table[at + 2u];
  return Piece(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, c.x, bitcast<f32>(c.y));
}

var<workgroup> inputs: array<vec4<u32>, INPUT_OCTETS>;      // octets of f16
var<workgroup> input_sums: array<f32, INPUT_OCTETS / 2u>;   // of sixteen
var<workgroup> parts: array<vec2<f32>, WORKGROUP_SIZE / LANES>;
var<workgroup> go: u32;
// Of a head, by channel.
var<workgroup> ups: array<f32, 4u * HEAD_SIZE>;
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
fn share_f32(at: u32, value: f32) { atomicStore(&shared_words[at], bitcast<u32>(value)); }

fn shared_quad(at: u32) -> vec4<f32> {
  return vec4(shared_f32(at), shared_f32(at + 1u), shared_f32(at + 2u), shared_f32(at + 3u));
}

fn vector_quad(at: u32) -> vec4<f32> { return bitcast<vec4<f32>>(weights[at]); }

fn octet_of_input(octet: u32) -> Octet {
  let halves = inputs[octet];
  return Octet(vec4(unpack2x16float(halves.x), unpack2x16float(halves.y)), vec4(unpack2x16float(halves.z), unpack2x16float(halves.w)));
}

// The sum over `count` neighbours, a power of two and at most LANES.
fn neighbours_sum(value: vec2<f32>, count: u32) -> vec2<f32> {
  var sum = value;
  for (var distance = 1u; distance < count; distance *= 2u) {
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
fn workgroup_sum(value: f32, lane: u32) -> f32 {
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

fn arrive(lane: u32) {
  storageBarrier();
  workgroupBarrier();
  if (lane == 0u) {
    atomicAdd(&shared_words[ARRIVED], 1u);
  }
}

// Whether all `target_count` have arrived; false when something is wrong.
fn wait(target_count: u32, lane: u32) -> bool {
  if (lane == 0u) {
    go = 1u;
    for (var spins = 0u; atomicLoad(&shared_words[ARRIVED]) < target_count; spins++) {
      if (spins > SPINS_MAX || atomicLoad(&shared_words[STALLED]) != 0u) {
        atomicStore(&shared_words[STALLED], 1u);
        go = 0u;
        break;
      }
    }
  }
  return workgroupUniformLoad(&go) == 1u;
}

// The last to leave makes the counters ready for the next dispatch.
fn leave(n_workgroups: u32, lane: u32) {
  if (lane == 0u && atomicAdd(&shared_words[LEFT], 1u) == n_workgroups - 1u) {
    atomicStore(&shared_words[ARRIVED], 0u);
    atomicStore(&shared_words[LEFT], 0u);
  }
}

// Four neighbouring values become inputs.
fn set_input_quad(quad: u32, values: vec4<f32>, lane: u32) {
  let words = vec2(packed(values.xy), packed(values.zw));
  let rounded = vec4(unpack2x16float(words.x), unpack2x16float(words.y));
  let sum = neighbours_sum1(dot(rounded, vec4(1.0)), 4u);
  if (quad < N_EMBD / 4u) {
    inputs[quad / 2u][2u * (quad & 1u)] = words.x;
    inputs[quad / 2u][2u * (quad & 1u) + 1u] = words.y;
    if (lane % 4u == 0u) {
      input_sums[quad / 4u] = sum;
    }
  }
}

fn normed_input(stage: Stage, piece: Piece, slot: u32, workgroup: u32, lane: u32) {
  let n_quads = N_EMBD / 4u;
  //@repeat E QUADS_EACH
  let quad_$E = lane + $Eu * WORKGROUP_SIZE;
  let at_$E = min(quad_$E, n_quads - 1u);
  var x_$E = select(vec4(0.0), shared_quad(at_$E * 4u), quad_$E < n_quads);
  let weight_$E = vector_quad(stage.vectors + at_$E);
  let bias_$E = vector_quad(stage.vectors + n_quads + at_$E);
  var previous_$E = vec4(0.0);
  var mix_$E = vec4(0.0);
  if (stage.shift != NONE) {
    previous_$E = shift_states[stage.shift + slot * n_quads + at_$E];
    mix_$E = vector_quad(stage.vectors + (2u + piece.mix) * n_quads + at_$E);
  }
  //@end
  var sum = 0.0;
  //@repeat E QUADS_EACH
  sum += dot(x_$E, vec4(1.0));
  //@end
  let mean = workgroup_sum(sum, lane) / f32(N_EMBD);
  sum = 0.0;
  //@repeat E QUADS_EACH
  x_$E = select(vec4(0.0), x_$E - mean, quad_$E < n_quads);
  sum += dot(x_$E, x_$E);
  //@end
  let scale = 1.0 / sqrt(workgroup_sum(sum, lane) / f32(N_EMBD) + immediates.norm_epsilon);
  //@repeat E QUADS_EACH
  x_$E = x_$E * scale * weight_$E + bias_$E;
  if (workgroup == 0u && quad_$E < n_quads) {
    for (var i = 0u; i < 4u; i++) {
      share_f32(KEPT + quad_$E * 4u + i, x_$E[i]);
    }
  }
  if (stage.shift != NONE) {
    x_$E += (previous_$E - x_$E) * mix_$E;
  }
  set_input_quad(quad_$E, x_$E, lane);
  //@end
}

fn plain_input(stage: Stage, lane: u32) {
  //@repeat E WORDS_EACH
  {
    let word = lane + $Eu * WORKGROUP_SIZE;
    let there = word < stage.n_in / 2u;
    var pair = 0u;
    if (there) {
      pair = atomicLoad(&shared_words[stage.input + word]);
    }
    let sum = neighbours_sum1(dot(unpack2x16float(pair), vec2(1.0)), 8u);
    if (there) {
      inputs[word / 4u][word & 3u] = pair;
      if (lane % 8u == 0u) {
        input_sums[word / 8u] = sum;
      }
    }
  }
  //@end
}

//@repeat F N_FORMATS
fn unit_dots_$F(a: Unit_$F, b: Unit_$F, unit: u32) -> vec2<f32> {
  var sums = vec2<f32>();
  //@repeat H UNIT_HALVES
  {
    let k = unit_k_$F(unit, 2u * $Hu) / 8u;
    let x0 = octet_of_input(k);
    let x1 = octet_of_input(unit_k_$F(unit, 2u * $Hu + 1u) / 8u);
    let x_sum = input_sums[k / 2u];
    sums += vec2(unit_half_dot_$F(a, $Hu, x0, x1, x_sum), unit_half_dot_$F(b, $Hu, x0, x1, x_sum));
  }
  //@end
  return sums;
}

// Part of two rows times the input: the units from `unit` on, every team-th.
fn row_dots_$F(piece: Piece, pair: u32, n_in: u32, first: u32) -> vec2<f32> {
  let row = (piece.weights + 2u * pair * piece.row_quads) * 4u;
  let next_row = row + piece.row_quads * 4u;
  let n_units = n_in / 32u;
  var sums = vec2<f32>();
  var a = load_unit_$F(row, n_in, min(first, n_units - 1u));
  var b = load_unit_$F(next_row, n_in, min(first, n_units - 1u));
  for (var unit = first; unit < n_units; unit += piece.team) {
    let next = min(unit + piece.team, n_units - 1u);
    let next_a = load_unit_$F(row, n_in, next);
    let next_b = load_unit_$F(next_row, n_in, next);
    sums += unit_dots_$F(a, b, unit);
    a = next_a;
    b = next_b;
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
    atomicStore(&shared_words[piece.output + pair], packed(values));
  }
}

fn multiply(piece: Piece, n_in: u32, lane: u32) {
  let n_pairs = piece.n_rows / 2u;
  let n_teams = WORKGROUP_SIZE / piece.team;
  for (var first = 0u; first < n_pairs; first += n_teams) {
    let pair = first + lane / piece.team;
    var sums = vec2<f32>();
    if (pair < n_pairs) {
      switch piece.format {
        //@repeat F N_FORMATS
        case $Fu: { sums = row_dots_$F(piece, pair, n_in, lane % piece.team); }
        //@end
        default: {}
      }
    }
    sums = neighbours_sum(sums, LANES);
    if (lane % LANES == 0u) {
      parts[lane / LANES] = sums;
    }
    workgroupBarrier();
    if (lane < n_teams && first + lane < n_pairs) {
      var total = vec2<f32>();
      let n_parts = piece.team / LANES;
      for (var i = 0u; i < n_parts; i++) {
        total += parts[lane * n_parts + i];
      }
      store_pair(piece, first + lane, total);
    }
    workgroupBarrier();
  }
}

fn sigmoid(value: f32) -> f32 { return 1.0 / (1.0 + exp(-value)); }

// Element `channel` of one of the vectors of the time mix.
fn time_mix_vector(stage: Stage, index: u32, channel: u32) -> f32 {
  return vector_quad(stage.vectors + index * (N_EMBD / 4u) + channel / 4u)[channel & 3u];
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

// The up-projections of a head's channels: four neighbours to each.
fn head_ups(stage: Stage, head: u32, lane: u32) {
  let ends = vec3(stage.ranks.x, stage.ranks.x + stage.ranks.y, stage.ranks.x + stage.ranks.y + stage.ranks.z) / 2u;
  for (var i = lane; i < ends.z + stage.ranks.w / 2u; i += WORKGROUP_SIZE) {
    var word = stage.lows.x + i;
    word = select(word, stage.lows.y + i - ends.x, i >= ends.x);
    word = select(word, stage.lows.z + i - ends.y, i >= ends.y);
    word = select(word, stage.lows.w + i - ends.z, i >= ends.z);
    inputs[i / 4u][i & 3u] = atomicLoad(&shared_words[word]);
  }
  workgroupBarrier();
  for (var row = lane / 4u; row < 4u * HEAD_SIZE; row += WORKGROUP_SIZE / 4u) {
    let m = row / HEAD_SIZE;
    let rank = select(select(stage.ranks.x, stage.ranks.y, m > 0u), select(stage.ranks.z, stage.ranks.w, m > 2u), m > 1u);
    let up = select(select(stage.up.x, stage.up.y, m > 0u), select(stage.up.z, stage.up.w, m > 2u), m > 1u);
    let low = 2u * select(select(0u, ends.x, m > 0u), select(ends.y, ends.z, m > 2u), m > 1u);
    let n_octets = rank / 8u;
    let first = up + (head * HEAD_SIZE + row % HEAD_SIZE) * n_octets;
    //@repeat E UP_EACH
    var up_$E = vec4<u32>();
    if (lane % 4u + 4u * $Eu < n_octets) {
      up_$E = weights[first + lane % 4u + 4u * $Eu];
    }
    //@end
    var sum = 0.0;
    //@repeat E UP_EACH
    {
      let x = octet_of_input(low / 8u + min(lane % 4u + 4u * $Eu, n_octets - 1u));
      let w = Octet(vec4(unpack2x16float(up_$E.x), unpack2x16float(up_$E.y)), vec4(unpack2x16float(up_$E.z), unpack2x16float(up_$E.w)));
      sum += dot8(w, x);
    }
    //@end
    sum = neighbours_sum1(sum, 4u);
    if (lane % 4u == 0u) {
      ups[row] = sum;
    }
  }
  workgroupBarrier();
}

// What a head's recurrence needs, channel by channel; gives v and the gate.
fn prepare_head(stage: Stage, head: u32, c: u32) {
  let channel = head * HEAD_SIZE + c;
  let half = c & 1u;
  let r = shared_pair(R_K_V + channel / 2u)[half];
  let key = shared_pair(R_K_V + (N_EMBD + channel) / 2u)[half];
  var v = shared_pair(R_K_V + (2u * N_EMBD + channel) / 2u)[half];
  if (stage.first_layer == 1u) {
    share_f32(V_FIRST + channel, v);
  } else {
    v += (shared_f32(V_FIRST + channel) - v) * sigmoid(time_mix_vector(stage, 2u, channel) + ups[2u * HEAD_SIZE + c]);
  }
  let a = sigmoid(time_mix_vector(stage, 1u, channel) + ups[HEAD_SIZE + c]);
  let k = key * (1.0 + (a - 1.0) * time_mix_vector(stage, 4u, channel));
  let kk = key * time_mix_vector(stage, 3u, channel);
  let quad = c / 4u;
  let part = c & 3u;
  head_r[quad][part] = r;
  head_w[quad][part] = exp(-EXP_MINUS_HALF * sigmoid(time_mix_vector(stage, 0u, channel) + ups[c]));
  head_k[quad][part] = k;
  head_kk[quad][part] = kk;
  head_remove[quad][part] = kk * a;
  head_v[c] = v;
  let sums = neighbours_sum(vec2(kk * kk, r * k * time_mix_vector(stage, 5u, channel)), 2u);
  if (half == 0u) {
    head_sums[c / 8u][(c / 2u) & 3u] = sums.x;
    head_sums[HEAD_SIZE / 8u + c / 8u][(c / 2u) & 3u] = sums.y;
  }
}

// Group norm, bonus and gate.
fn finish_head(stage: Stage, head: u32, bonus: f32, c: u32) {
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
  let normed = (head_y[c / 4u][c & 3u] - mean) * scale * time_mix_vector(stage, 6u, channel) + time_mix_vector(stage, 7u, channel);
  let gated = (normed + bonus * head_v[c]) * ups[3u * HEAD_SIZE + c];
  let other = subgroupShuffleXor(gated, 1u);
  if ((c & 1u) == 0u) {
    atomicStore(&shared_words[GATED + channel / 2u], packed(vec2(gated, other)));
  }
}

fn time_mix(stage: Stage, head: u32, slot: u32, frozen: bool, lane: u32) {
  // LANES to a row of the state.
  let i = lane / LANES;
  let own = lane % LANES;
  let state_at = stage.wkv + ((slot * (N_EMBD / HEAD_SIZE) + head) * HEAD_SIZE + i) * (HEAD_SIZE / 4u) + own;
  //@repeat Q KEYS_EACH
  var state_$Q = wkv_states[state_at + $Qu * LANES];
  //@end
  head_ups(stage, head, lane);
  if (lane < HEAD_SIZE) {
    prepare_head(stage, head, lane);
  }
  workgroupBarrier();
  let inverse_norm = 1.0 / max(sqrt(head_total(0u)), KEY_NORM_EPSILON);
  let v = head_v[i];
  var sum = 0.0;
  //@repeat Q KEYS_EACH
  sum += dot(state_$Q, head_kk[own + $Qu * LANES]);
  //@end
  let removed = neighbours_sum1(sum, LANES) * inverse_norm * inverse_norm;
  sum = 0.0;
  //@repeat Q KEYS_EACH
  {
    let at = own + $Qu * LANES;
    state_$Q = state_$Q * head_w[at] - removed * head_remove[at] + v * head_k[at];
    sum += dot(state_$Q, head_r[at]);
    if (!frozen) {
      wkv_states[state_at + $Qu * LANES] = state_$Q;
    }
  }
  //@end
  let y = neighbours_sum1(sum, LANES);
  if (own == 0u) {
    head_y[i / 4u][i & 3u] = y;
  }
  workgroupBarrier();
  if (lane < HEAD_SIZE) {
    finish_head(stage, head, head_total(1u), lane);
  }
  workgroupBarrier();
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let workgroup = id.x;
  let n_workgroups = grid.x;
  let slot = step_chunk(0u).slot;
  let frozen = control_frozen(slot);
  for (var s = immediates.stage_begin; s < immediates.stage_end; s++) {
    let stage = stage_at(s);
    let piece = piece_at(s, workgroup, n_workgroups);
    if (s > immediates.stage_begin) {
      arrive(lane);
      if (!wait((s - immediates.stage_begin) * n_workgroups, lane)) {
        return;
      }
    }
    if (stage.kept != NONE && workgroup == n_workgroups - 1u && !frozen) {
      for (var quad = lane; quad < N_EMBD / 4u; quad += WORKGROUP_SIZE) {
        shift_states[stage.kept + slot * (N_EMBD / 4u) + quad] = shared_quad(KEPT + 4u * quad);
      }
    }
    if (stage.kind == TIME_MIX) {
      for (var head = workgroup; head < N_EMBD / HEAD_SIZE; head += n_workgroups) {
        time_mix(stage, head, slot, frozen, lane);
      }
      continue;
    }
    if (stage.kind == NORMED) {
      normed_input(stage, piece, slot, workgroup, lane);
    } else {
      plain_input(stage, lane);
    }
    workgroupBarrier();
    multiply(piece, stage.n_in, lane);
  }
  if (immediates.stage_end > immediates.stage_begin + 1u) {
    leave(n_workgroups, lane);
  }
}
