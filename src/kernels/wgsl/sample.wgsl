// Chooses the next token of every output row that asks for it, writes it into the slot's control block, counts it where
// penalties want that, and freezes the slot at a stop token or the limit. One workgroup: one row of logits.
// Oracle: sample_ref.cpp; what each filter does: docs/sampling.md; how the cuts are found: candidates.wgsl.
//@import step
//@import control_layout
//@const WORKGROUP_SIZE 256
//@import reduce
//@import candidates

struct Immediates {
  n_vocab: u32,
}

const NONE = 0xffffffffu;
const FROZEN_STOP = 1u;
const FROZEN_LIMIT = 2u;
const FROZEN_NUMERICAL = 3u;

const TOP_P = 0u;
const TOP_K = 1u;
const MIN_P = 2u;
const TYPICAL_P = 3u;
const XTC = 4u;
const MIROSTAT = 5u;  // alone, instead of the others
const DRAW = 6u;      // what is done last
const N_STAGES = 7u;
// By SamplerOrder: rwkv, llama.
const ORDERS: array<array<u32, N_STAGES>, 2> = array<array<u32, N_STAGES>, 2>(
  array<u32, N_STAGES>(TOP_P, TOP_K, MIN_P, TYPICAL_P, XTC, MIROSTAT, DRAW),
  array<u32, N_STAGES>(TOP_K, TYPICAL_P, TOP_P, MIN_P, XTC, MIROSTAT, DRAW));
const LN_2: f32 = 0.69314718;
const TEAM: u32 = 32u;  // invocations that add up a stretch of ids together
const TEAMS: u32 = WORKGROUP_SIZE / TEAM;
// Distances of logits within which the k-th candidate is looked for first.
const TOP_K_NEAR: f32 = 32.0;
// order_key of them.
const INFINITY_KEY = 0xff800000u;
const MINUS_INFINITY_KEY = 0x007fffffu;

@group(0) @binding(1) var<storage, read_write> control: array<u32>;  // [slot, CONTROL_WORDS]
@group(0) @binding(2) var<storage, read> logits: array<f32>;         // [output row, n_vocab]
@group(0) @binding(3) var<storage, read_write> counts: array<f32>;    // [slot, n_vocab]
@group(0) @binding(4) var<storage, read_write> sampled: array<u32>;   // [output row, 3]: id or NONE, frozen, mu
var<immediate> immediates: Immediates;

var<workgroup> best_key: atomic<u32>;
var<workgroup> best_id: atomic<u32>;
var<workgroup> best: Best;
var<workgroup> stretch: Stretch;
var<workgroup> stretch_masses: array<f32, TEAMS>;
var<workgroup> stages: u32;
var<workgroup> slot_control: array<u32, CONTROL_WORDS>;

// The sum of exp(exponent) of the candidates drawn from.
var<private> mass_drawn_from: f32;

fn parameter(word: u32) -> f32 {
  return bitcast<f32>(slot_control[word]);
}

// Threefry-2x32 with 20 rounds: a counter-based generator, so that no draw depends on another.
fn threefry(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {
  let keys = array<u32, 3>(key.x, key.y, 0x1bd11bdau ^ key.x ^ key.y);
  let rotations = array<u32, 8>(13u, 15u, 26u, 6u, 17u, 29u, 16u, 24u);
  var x = counter + key;
  for (var i = 0u; i < 20u; i++) {
    let rotation = rotations[i & 7u];
    x.x += x.y;
    x.y = ((x.y << rotation) | (x.y >> (32u - rotation))) ^ x.x;
    if ((i & 3u) == 3u) {
      let injection = i / 4u + 1u;
      x += vec2(keys[injection % 3u], keys[(injection + 1u) % 3u] + injection);
    }
  }
  return x;
}

// Of a row: its largest logit as a key, and the lowest id that has it. A row that is not finite may have any id.
struct Best {
  key: u32,
  id: u32,
}

fn argmax(lane: Lane) -> Best {
  if (lane.index == 0u) {
    atomicStore(&best_key, 0u);
    atomicStore(&best_id, NONE);
  }
  workgroupBarrier();
  var id = min(lane.index, immediates.n_vocab - 1u);
  var value = logits[row + id];
  var magnitude = 0u;  // that of NaN is above that of infinity; comparisons may assume that there is none
  for (var first = lane.index; first < immediates.n_vocab; first += EACH * WORKGROUP_SIZE) {
    load_logits(first, WORKGROUP_SIZE);
    //@repeat I EACH
    if (first + $Iu * WORKGROUP_SIZE < immediates.n_vocab) {
      magnitude = max(magnitude, bitcast<u32>(logit_$I) & 0x7fffffffu);
      id = select(id, first + $Iu * WORKGROUP_SIZE, logit_$I > value);
      value = select(value, logit_$I, logit_$I > value);
    }
    //@end
  }
  let key = select(order_key(value), order_key(bitcast<f32>(magnitude)), magnitude > 0x7f800000u);
  // Atomics on one word wait for each other; most of them need not be.
  if (key > atomicLoad(&best_key)) {
    atomicMax(&best_key, key);
  }
  workgroupBarrier();
  if (key == atomicLoad(&best_key)) {
    atomicMin(&best_id, id);
  }
  workgroupBarrier();
  if (lane.index == 0u) {
    best = Best(atomicLoad(&best_key), atomicLoad(&best_id));
  }
  return workgroupUniformLoad(&best);
}

// The numbers in [0, 1) that decide the token and whether XTC acts.
fn random_numbers() -> vec2<f32> {
  let position = slot_control[CONTROL_POSITION] + slot_control[CONTROL_N_GENERATED];
  let bits = threefry(vec2(slot_control[CONTROL_SEED], slot_control[CONTROL_SEED + 1u]),
                      vec2(slot_control[CONTROL_SEQUENCE], position));
  return vec2<f32>(bits >> vec2(8u)) * 0x1p-24f;
}

// A bit for each stage that has something to do.
fn stages_on() -> u32 {
  if (parameter(CONTROL_MIROSTAT_TAU) > 0.0) {
    return (1u << MIROSTAT) | (1u << DRAW);
  }
  let top_k = slot_control[CONTROL_TOP_K];
  return (1u << DRAW) | select(0u, 1u << TOP_P, parameter(CONTROL_TOP_P) < 1.0) |
         select(0u, 1u << TOP_K, top_k > 0u && top_k < immediates.n_vocab) |
         select(0u, 1u << MIN_P, parameter(CONTROL_MIN_P) > 0.0) |
         select(0u, 1u << TYPICAL_P, parameter(CONTROL_TYPICAL_P) < 1.0) |
         select(0u, 1u << XTC, random_numbers().y < parameter(CONTROL_XTC_PROBABILITY));
}

// Bits of surprise that mirostat allows the next token.
fn mirostat_mu() -> f32 {
  let mu = parameter(CONTROL_MIROSTAT_MU);
  return select(mu, 2.0 * parameter(CONTROL_MIROSTAT_TAU), mu == 0.0);
}

// How to find a cut.
struct Aim {
  ranking: Ranking,
  weighing: Weighing,
  wanted: u32,
}

// At `share` of the mass. What lies farther than `tail` from the largest logit adds up to less than the rest.
fn aim_at_share(share: f32, centre: f32, mass: f32) -> Aim {
  let tail = log(f32(immediates.n_vocab) / (mass * (1.0 - share)));
  let near = 1.001 * max(-centre, tail + centre) + 0.001;
  return Aim(Ranking(false, centre, near), Weighing(1.0, WHOLE / mass), max(u32(share * WHOLE), 1u));
}

fn aim_of(stage: u32, all: Tally, sharpness: f32, number: f32) -> Aim {
  switch (stage) {
    case TOP_P: { return aim_at_share(parameter(CONTROL_TOP_P), 0.0, all.mass); }
    // -ln p is ln(mass) - (logit - high), its mean over p the entropy: their distance needs no logarithm.
    case TYPICAL_P: { return aim_at_share(parameter(CONTROL_TYPICAL_P), all.moment / all.mass, all.mass); }
    case DRAW: {
      return Aim(Ranking(true, 0.0, 0.0), Weighing(sharpness, WHOLE / all.mass), u32(number * WHOLE) + 1u);
    }
    default: { return Aim(Ranking(false, 0.0, TOP_K_NEAR), Weighing(0.0, 1.0), slot_control[CONTROL_TOP_K]); }
  }
}

// The logit at which a filter cuts that needs to look at no candidate for it.
fn bound_of(stage: u32, mass: f32, sharpness: f32) -> f32 {
  switch (stage) {
    case MIN_P: { return high + log(parameter(CONTROL_MIN_P)); }
    case XTC: { return high + log(parameter(CONTROL_XTC_THRESHOLD) * mass); }
    default: { return high + (log(mass) - mirostat_mu() * LN_2) / sharpness; }
  }
}

// Consecutive ids, among them the one to draw.
struct Stretch {
  begin: u32,
  end: u32,
  number: f32,  // in [0, 1): where in the mass of the stretch the draw lies
  total: f32,   // the mass of all candidates
}

fn team_mass(begin: u32, end: u32, sharpness: f32) -> f32 {
  var mass = 0.0;
  for (var first = begin; first < end; first += EACH * TEAM) {
    load_logits(first, TEAM);
    //@repeat I EACH
    if (first + $Iu * TEAM < end) {
      mass += tally_one(logit_$I, sharpness).x;
    }
    //@end
  }
  return mass;
}

// The part of a stretch, of `size` ids each, in which the number lies. Rounding may leave it beyond the last one that has
// any mass: that is taken then.
fn part_drawn(all: Stretch, size: u32) -> Stretch {
  var total = 0.0;
  for (var i = 0u; i < TEAMS; i++) {
    total += stretch_masses[i];
  }
  var result = all;
  result.end = all.begin + size;  // never as long as all, whatever the numbers are
  var before = 0.0;
  for (var i = 0u; i < TEAMS; i++) {
    let mass = stretch_masses[i];
    if (mass > 0.0) {
      result.begin = all.begin + i * size;
      result.end = min(result.begin + size, all.end);
      result.number = min((all.number * total - before) / mass, 1.0);
      before += mass;
      if (before > all.number * total) {
        break;
      }
    }
  }
  result.total = select(all.total, total, all.total == 0.0);
  return result;
}

// Narrows a stretch to where the draw lies until it has room in the list. Each team adds up a part of it.
fn narrow(first: Stretch, sharpness: f32, lane: Lane) -> Stretch {
  if (lane.index == 0u) {
    stretch = first;
  }
  var all = workgroupUniformLoad(&stretch);
  while (all.end - all.begin > LIST_MAX) {
    let size = (all.end - all.begin + TEAMS - 1u) / TEAMS;
    let begin = all.begin + lane.index / TEAM * size;
    // The list is empty: its memory is free.
    list_logits[lane.index] = team_mass(begin + lane.index % TEAM, min(begin + size, all.end), sharpness);
    workgroupBarrier();
    if (lane.index < TEAMS) {
      var mass = 0.0;
      for (var i = 0u; i < TEAM; i++) {
        mass += list_logits[lane.index * TEAM + i];
      }
      stretch_masses[lane.index] = mass;
    }
    workgroupBarrier();
    if (lane.index == 0u) {
      stretch = part_drawn(all, size);
    }
    all = workgroupUniformLoad(&stretch);
  }
  return all;
}

// Applies a filter to the candidates, or draws one of them: by the inverse of their cumulative weights in the order of ids.
// `n` as in candidates.wgsl, before and after.
fn run_stage(stage: u32, n: u32, sharpness: f32, lane: Lane) -> u32 {
  var n_after = n;
  var drawn = Stretch(0u, immediates.n_vocab, random_numbers().x, 0.0);
  if (stage == DRAW && n == IN_ROW) {
    drawn = narrow(drawn, sharpness, lane);
    let all_bins = Part(vec2(drawn.begin, drawn.end - 1u), vec2(0u, BINS - 1u));
    n_after = list_part(all_bins, Ranking(false, 0.0, LARGEST), lane);
  }
  var all = Tally();
  if (stage != TOP_K && stage != MIN_P) {
    all = tally(n_after, select(1.0, sharpness, stage == MIROSTAT || stage == DRAW), lane);
    mass_drawn_from = select(all.mass, drawn.total, drawn.total > 0.0);
  }
  let aim = aim_of(stage, all, sharpness, drawn.number);
  if (stage == MIN_P || stage == XTC || stage == MIROSTAT) {
    threshold = order_key(bound_of(stage, all.mass, sharpness));
  } else {
    let bits = select(32u, 16u, stage == DRAW && immediates.n_vocab <= 0x10000u);
    n_after = cut_at(n_after, aim.wanted, bits, aim.ranking, aim.weighing, lane);
  }
  if (stage == TYPICAL_P || stage == XTC) {
    let span = span_above(n_after, aim.ranking, lane);
    if (span.x <= span.y) {
      low = select(low, value_of_key(span.x), stage == TYPICAL_P);
      high = value_of_key(select(span.x, span.y, stage == TYPICAL_P));
    }
  } else if (stage != DRAW) {
    low = max(low, min(value_of_key(threshold), high));
  }
  return n_after;
}

// Mirostat's memory after a token: what surprised more than tau bits makes it stricter.
fn steered_mu(id: u32, sharpness: f32) -> f32 {
  let surprise = (log(mass_drawn_from) - exponent(logits[row + id], sharpness)) / LN_2;
  return mirostat_mu() - parameter(CONTROL_MIROSTAT_ETA) * (surprise - parameter(CONTROL_MIROSTAT_TAU));
}

// What becomes of the slot once `id` is its next token.
fn freeze_reason(id: u32) -> u32 {
  for (var i = 0u; i < min(slot_control[CONTROL_N_STOP], STOP_MAX); i++) {
    if (slot_control[CONTROL_STOP + i] == id) {
      return FROZEN_STOP;
    }
  }
  if (slot_control[CONTROL_N_GENERATED] + 1u >= slot_control[CONTROL_LIMIT]) {
    return FROZEN_LIMIT;
  }
  return 0u;
}

fn keeps_counts() -> bool {
  return counts_tokens(parameter(CONTROL_PRESENCE_PENALTY), parameter(CONTROL_FREQUENCY_PENALTY),
                       parameter(CONTROL_REPETITION_PENALTY));
}

fn is_counted(id: u32) -> bool {
  for (var i = 0u; i < min(slot_control[CONTROL_N_UNCOUNTED], UNCOUNTED_MAX); i++) {
    if (slot_control[CONTROL_UNCOUNTED + i] == id) {
      return false;
    }
  }
  return true;
}

fn decay_counts(first_count: u32, index: u32) {
  for (var first = index; first < immediates.n_vocab; first += EACH * WORKGROUP_SIZE) {
    //@repeat I EACH
    let at_$I = min(first + $Iu * WORKGROUP_SIZE, immediates.n_vocab - 1u);
    let count_$I = counts[first_count + at_$I];
    //@end
    //@repeat I EACH
    if (count_$I > 0.0 && first + $Iu * WORKGROUP_SIZE < immediates.n_vocab) {
      counts[first_count + at_$I] = count_$I * parameter(CONTROL_PENALTY_DECAY);
    }
    //@end
  }
}

fn report(output: u32, id: u32, frozen: u32, mu: u32) {
  sampled[3u * output] = id;
  sampled[3u * output + 1u] = frozen;
  sampled[3u * output + 2u] = mu;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(lane: Lane, @builtin(workgroup_id) workgroup: vec3<u32>) {
  if (workgroup.x >= step_n_outputs()) {
    return;
  }
  let output_row = step_output(workgroup.x);
  if (output_row.sample == 0u) {
    return;
  }
  let base = output_row.slot * CONTROL_WORDS;
  if (lane.index < CONTROL_WORDS) {
    slot_control[lane.index] = control[base + lane.index];
  }
  let frozen = workgroupUniformLoad(&slot_control[CONTROL_FROZEN]);
  if (frozen != 0u) {
    if (lane.index == 0u) {
      report(workgroup.x, NONE, frozen, slot_control[CONTROL_MIROSTAT_MU]);
    }
    return;
  }
  row = workgroup.x * immediates.n_vocab;
  let first = argmax(lane);
  let temperature = bitcast<f32>(workgroupUniformLoad(&slot_control[CONTROL_TEMPERATURE]));
  let numerical = first.key <= MINUS_INFINITY_KEY || first.key >= INFINITY_KEY;
  var id = first.id;
  var mu = parameter(CONTROL_MIROSTAT_MU);
  if (!numerical && temperature > 0.0) {
    low = -LARGEST;
    high = value_of_key(first.key);
    if (lane.index == 0u) {
      stages = stages_on();
    }
    let sharpness = min(1.0 / temperature, LARGEST);
    let on = workgroupUniformLoad(&stages);
    let order = min(workgroupUniformLoad(&slot_control[CONTROL_ORDER]), 1u);
    var n = IN_ROW;
    for (var i = 0u; i < N_STAGES; i++) {
      if ((on & (1u << ORDERS[order][i])) != 0u) {
        n = run_stage(ORDERS[order][i], n, sharpness, lane);
      }
    }
    id = min(~threshold, immediates.n_vocab - 1u);  // an index, whatever the numbers were
    if ((on & (1u << MIROSTAT)) != 0u) {
      mu = steered_mu(id, sharpness);
    }
  }
  let reason = select(freeze_reason(id), FROZEN_NUMERICAL, numerical);
  let stays = reason == 0u || reason == FROZEN_LIMIT;
  let first_count = output_row.slot * immediates.n_vocab;
  if (stays && keeps_counts()) {
    decay_counts(first_count, lane.index);
  }
  // The token is counted by another invocation than its count decays in, after it: an fma would round once less than
  // the CPU, which counts again what it takes back.
  storageBarrier();
  if (lane.index == 0u) {
    mu = select(parameter(CONTROL_MIROSTAT_MU), mu, stays);
    control[base + CONTROL_NEXT_TOKEN] = id;
    control[base + CONTROL_FROZEN] = reason;
    control[base + CONTROL_N_GENERATED] = slot_control[CONTROL_N_GENERATED] + 1u;
    control[base + CONTROL_MIROSTAT_MU] = bitcast<u32>(mu);
    report(workgroup.x, select(id, NONE, numerical), reason, bitcast<u32>(mu));
    if (stays && keeps_counts() && is_counted(id)) {
      counts[first_count + id] += 1.0;
    }
  }
}
