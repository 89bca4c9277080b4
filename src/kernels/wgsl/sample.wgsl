// Chooses the next token of every output row that asks for it, writes it into the slot's control block, counts it where
// penalties want that, and freezes the slot at a stop token or the limit. One workgroup: one row of logits.
// Oracle: sample_ref.cpp; what each filter does: docs/sampling.md.
// The candidates are always the tokens within an interval of logits, so that a filter is a new bound. Top-p, top-k and
// typical-p find theirs by bisection over the bits of a rank: 16 passes each over n_vocab logits.
//@import step
//@import control_layout
//@const WORKGROUP_SIZE 256
//@import reduce

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
const N_FILTERS = 6u;
// By SamplerOrder: rwkv, llama.
const ORDERS: array<array<u32, N_FILTERS>, 2> = array<array<u32, N_FILTERS>, 2>(
  array<u32, N_FILTERS>(TOP_P, TOP_K, MIN_P, TYPICAL_P, XTC, MIROSTAT),
  array<u32, N_FILTERS>(TOP_K, TYPICAL_P, TOP_P, MIN_P, XTC, MIROSTAT));
const LN_2: f32 = 0.69314718;

@group(0) @binding(1) var<storage, read_write> control: array<u32>;  // [slot, CONTROL_WORDS]
@group(0) @binding(2) var<storage, read> logits: array<f32>;         // [output row, n_vocab]
@group(0) @binding(3) var<storage, read_write> counts: array<f32>;    // [slot, n_vocab]
@group(0) @binding(4) var<storage, read_write> sampled: array<u32>;   // [output row, 3]: id or NONE, frozen, mu
var<immediate> immediates: Immediates;

var<workgroup> best_keys: array<u32, WORKGROUP_SIZE>;
var<workgroup> best_ids: array<u32, WORKGROUP_SIZE>;
var<workgroup> masses: array<f32, WORKGROUP_SIZE>;
var<workgroup> chosen_id: u32;
var<workgroup> filters: u32;
var<workgroup> lowest: atomic<u32>;
var<workgroup> highest: atomic<u32>;
var<workgroup> slot_control: array<u32, CONTROL_WORDS>;

// The candidates: the tokens of this row whose keys are low to high, both the keys of candidates. The same in every
// invocation.
var<private> row: u32;
var<private> low: u32;
var<private> high: u32;

// Unsigned integers in the order of the floats; -0 as 0, and NaN of either sign above all, so that it is found.
fn order_key(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return 0xffffffffu;
  }
  if (magnitude == 0u) {
    return 0x80000000u;
  }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn value_of_key(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u));
}

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

// The largest logit and the lowest id that has it, over the row; known to all.
fn argmax(lane: u32) -> u32 {
  var key = 0u;
  var id = NONE;
  for (var i = lane; i < immediates.n_vocab; i += WORKGROUP_SIZE) {
    let other = order_key(logits[row + i]);
    if (id == NONE || other > key) {
      key = other;
      id = i;
    }
  }
  best_keys[lane] = key;
  best_ids[lane] = id;
  workgroupBarrier();
  for (var width = WORKGROUP_SIZE / 2u; width > 0u; width /= 2u) {
    if (lane < width) {
      let better = best_keys[lane + width] > best_keys[lane] ||
                   (best_keys[lane + width] == best_keys[lane] && best_ids[lane + width] < best_ids[lane]);
      if (better && best_ids[lane + width] != NONE) {
        best_keys[lane] = best_keys[lane + width];
        best_ids[lane] = best_ids[lane + width];
      }
    }
    workgroupBarrier();
  }
  let result = workgroupUniformLoad(&best_ids[0]);
  return result;
}

// What a filter orders the candidates by: their logits, or how near these are to a centre.
struct Ranking {
  largest: f32,  // the logit that all are relative to
  centre: f32,   // relative to it
  by_distance: bool,
}

fn rank(value: f32, ranking: Ranking) -> u32 {
  return select(order_key(value), ~bitcast<u32>(abs(value - ranking.largest - ranking.centre)), ranking.by_distance);
}

fn is_candidate(value: f32) -> bool {
  let key = order_key(value);
  return key >= low && key <= high;
}

// Over the candidates, by weight = exp((logit - largest) * sharpness).
struct Tally {
  mass: f32,    // sum of weights
  moment: f32,  // sum of weight * (logit - largest)
}

fn tally(largest: f32, sharpness: f32, lane: Lane) -> Tally {
  var sum = vec2<f32>();
  for (var i = lane.index; i < immediates.n_vocab; i += WORKGROUP_SIZE) {
    let value = logits[row + i];
    if (is_candidate(value)) {
      let weight = exp((value - largest) * sharpness);
      // A weight of 0 may be that of a logit at minus infinity, and their product no number.
      sum += vec2(weight, select(0.0, weight * (value - largest), weight > 0.0));
    }
  }
  let total = workgroup_sum(vec4(sum, 0.0, 0.0), lane);
  return Tally(total.x, total.y);
}

// The masses, or numbers, of the candidates whose rank is at least each of the thresholds.
fn above(thresholds: vec3<u32>, of_number: bool, ranking: Ranking, lane: Lane) -> vec3<f32> {
  var sums = vec3<f32>();
  for (var i = lane.index; i < immediates.n_vocab; i += WORKGROUP_SIZE) {
    let value = logits[row + i];
    let value_rank = rank(value, ranking);
    if (value_rank >= thresholds.x && is_candidate(value)) {
      let weight = select(exp(value - ranking.largest), 1.0, of_number);
      sums += select(vec3<f32>(), vec3(weight), vec3(value_rank) >= thresholds);
    }
  }
  return workgroup_sum(vec4(sums, 0.0), lane).xyz;
}

// The highest rank from which on at least `wanted` lies: of the mass, or of the number of candidates. Two bits a pass.
fn cut_at(wanted: f32, of_number: bool, ranking: Ranking, lane: Lane) -> u32 {
  var threshold = 0u;
  for (var pass_index = 0u; pass_index < 16u; pass_index++) {
    let shift = 30u - 2u * pass_index;
    let reached = above(vec3(threshold) | (vec3(1u, 2u, 3u) << vec3(shift)), of_number, ranking, lane) >= vec3(wanted);
    threshold |= dot(vec3<u32>(reached), vec3(1u)) << shift;
  }
  return threshold;
}

// The lowest and the highest key of the candidates whose rank is at least `threshold`; x > y where there are none.
fn keys_above(threshold: u32, ranking: Ranking, lane: Lane) -> vec2<u32> {
  if (lane.index == 0u) {
    atomicStore(&lowest, 0xffffffffu);
    atomicStore(&highest, 0u);
  }
  workgroupBarrier();
  var keys = vec2(0xffffffffu, 0u);
  for (var i = lane.index; i < immediates.n_vocab; i += WORKGROUP_SIZE) {
    let value = logits[row + i];
    if (is_candidate(value) && rank(value, ranking) >= threshold) {
      keys = vec2(min(keys.x, order_key(value)), max(keys.y, order_key(value)));
    }
  }
  atomicMin(&lowest, keys.x);
  atomicMax(&highest, keys.y);
  workgroupBarrier();
  keys = vec2(atomicLoad(&lowest), atomicLoad(&highest));
  workgroupBarrier();
  return keys;
}

// The numbers in [0, 1) that decide the token and whether XTC acts.
fn random_numbers() -> vec2<f32> {
  let position = slot_control[CONTROL_POSITION] + slot_control[CONTROL_N_GENERATED];
  let bits = threefry(vec2(slot_control[CONTROL_SEED], slot_control[CONTROL_SEED + 1u]),
                      vec2(slot_control[CONTROL_SEQUENCE], position));
  return vec2<f32>(bits >> vec2(8u)) * 0x1p-24f;
}

// A bit for each filter that has something to do.
fn filters_on() -> u32 {
  if (parameter(CONTROL_MIROSTAT_TAU) > 0.0) {
    return 1u << MIROSTAT;
  }
  let top_k = slot_control[CONTROL_TOP_K];
  return select(0u, 1u << TOP_P, parameter(CONTROL_TOP_P) < 1.0) |
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

fn apply_filter(filter_kind: u32, temperature: f32, lane: Lane) {
  var ranking = Ranking(value_of_key(high), 0.0, false);
  let all = tally(ranking.largest, select(1.0, 1.0 / temperature, filter_kind == MIROSTAT), lane);
  // -ln p is ln(mass) - (logit - largest), its mean over p the entropy: their distance needs no logarithm.
  ranking.centre = all.moment / all.mass;
  ranking.by_distance = filter_kind == TYPICAL_P;
  var threshold = 0u;
  switch (filter_kind) {
    case TOP_P, TOP_K, TYPICAL_P: {
      let share = select(parameter(CONTROL_TOP_P), parameter(CONTROL_TYPICAL_P), filter_kind == TYPICAL_P);
      let wanted = select(share * all.mass, f32(slot_control[CONTROL_TOP_K]), filter_kind == TOP_K);
      threshold = cut_at(wanted, filter_kind == TOP_K, ranking, lane);
    }
    case MIN_P: { threshold = order_key(ranking.largest + log(parameter(CONTROL_MIN_P))); }
    case XTC: { threshold = order_key(ranking.largest + log(parameter(CONTROL_XTC_THRESHOLD) * all.mass)); }
    default: { threshold = order_key(ranking.largest + temperature * (log(all.mass) - mirostat_mu() * LN_2)); }
  }
  if (filter_kind == TYPICAL_P || filter_kind == XTC) {
    let keys = keys_above(threshold, ranking, lane);
    low = select(low, keys.x, filter_kind == TYPICAL_P);
    high = min(high, select(keys.x, keys.y, filter_kind == TYPICAL_P));
  } else {
    low = max(low, min(threshold, high));
  }
}

struct Drawn {
  id: u32,
  total: f32,  // sum of the weights
}

// Draws by the inverse of the cumulative weights in the order of ids: invocation i has the i-th run of ids.
fn draw(temperature: f32, best: u32, lane: u32) -> Drawn {
  let largest = value_of_key(high);
  let run = (immediates.n_vocab + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
  let end = min((lane + 1u) * run, immediates.n_vocab);
  var mass = 0.0;
  for (var i = lane * run; i < end; i++) {
    let value = logits[row + i];
    if (is_candidate(value)) {
      mass += exp((value - largest) / temperature);
    }
  }
  masses[lane] = mass;
  if (lane == 0u) {
    chosen_id = best;
  }
  workgroupBarrier();
  var before = 0.0;
  var total = 0.0;
  for (var i = 0u; i < WORKGROUP_SIZE; i++) {
    before = select(before, total, i == lane);
    total += masses[i];
  }
  let wanted = random_numbers().x * total;
  // Rounding may leave the last invocation with mass short of `wanted` by an ulp: it then keeps its last token.
  if (mass > 0.0 && wanted >= before && (wanted < before + mass || before + mass >= total)) {
    var sum = before;
    for (var i = lane * run; i < end; i++) {
      let value = logits[row + i];
      if (is_candidate(value)) {
        sum += exp((value - largest) / temperature);
        chosen_id = i;
        if (sum > wanted) {
          break;
        }
      }
    }
  }
  return Drawn(workgroupUniformLoad(&chosen_id), total);
}

// Mirostat's memory after a token: what surprised more than tau bits makes it stricter.
fn steered_mu(drawn: Drawn, temperature: f32) -> f32 {
  let logit = logits[row + drawn.id] - value_of_key(high);
  let surprise = (log(drawn.total) - logit / temperature) / LN_2;
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
  let best = argmax(lane.index);
  let largest = logits[workgroup.x * immediates.n_vocab + best];
  let temperature = bitcast<f32>(workgroupUniformLoad(&slot_control[CONTROL_TEMPERATURE]));
  // The largest finite f32; written without arithmetic, which may assume that there is no NaN.
  let numerical = (bitcast<u32>(largest) & 0x7f800000u) == 0x7f800000u;
  var id = best;
  var mu = parameter(CONTROL_MIROSTAT_MU);
  if (!numerical && temperature > 0.0) {
    low = 0u;
    high = order_key(largest);
    if (lane.index == 0u) {
      filters = filters_on();
    }
    let on = workgroupUniformLoad(&filters);
    let order = min(workgroupUniformLoad(&slot_control[CONTROL_ORDER]), 1u);
    for (var i = 0u; i < N_FILTERS; i++) {
      if ((on & (1u << ORDERS[order][i])) != 0u) {
        apply_filter(ORDERS[order][i], temperature, lane);
      }
    }
    let drawn = draw(temperature, best, lane.index);
    id = drawn.id;
    if (on == 1u << MIROSTAT) {
      mu = steered_mu(drawn, temperature);
    }
  }
  let reason = select(freeze_reason(id), FROZEN_NUMERICAL, numerical);
  let stays = reason == 0u || reason == FROZEN_LIMIT;
  let first_count = output_row.slot * immediates.n_vocab;
  if (stays && keeps_counts()) {
    for (var i = lane.index; i < immediates.n_vocab; i += WORKGROUP_SIZE) {
      let count = counts[first_count + i];
      if (count > 0.0) {
        counts[first_count + i] = count * parameter(CONTROL_PENALTY_DECAY);
      }
    }
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
