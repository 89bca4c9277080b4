// Chooses the next token of every output row that asks for it, writes it into the slot's control block and freezes the slot
// at a stop token or the limit. One workgroup: one row of logits. Oracle: sample_ref.cpp; the order is RWKV's: top-p and
// top-k cut the untempered softmax, then p^(1/T).
// The cut is a threshold on the logit, found by bisection over its bits in an order that integers have too: 32 passes
// for top-p and 32 for top-k over n_vocab logits.
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

@group(0) @binding(1) var<storage, read_write> control: array<u32>;  // [slot, CONTROL_WORDS]
@group(0) @binding(2) var<storage, read> logits: array<f32>;         // [output row, n_vocab]
@group(0) @binding(3) var<storage, read_write> sampled: array<u32>;   // [output row, 2]: id or NONE, frozen
var<immediate> immediates: Immediates;

var<workgroup> best_keys: array<u32, WORKGROUP_SIZE>;
var<workgroup> best_ids: array<u32, WORKGROUP_SIZE>;
var<workgroup> masses: array<f32, WORKGROUP_SIZE>;
var<workgroup> chosen_id: u32;
var<workgroup> slot_control: array<u32, CONTROL_WORDS>;

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
fn argmax(row: u32, lane: u32) -> u32 {
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

// x: sum of exp(logit - largest), y: number of tokens, over those whose key is at least `threshold`.
fn mass_above(row: u32, threshold: u32, largest: f32, lane: Lane) -> vec2<f32> {
  var mass = vec2<f32>();
  for (var i = lane.index; i < immediates.n_vocab; i += WORKGROUP_SIZE) {
    let value = logits[row + i];
    if (order_key(value) >= threshold) {
      mass += vec2(exp(value - largest), 1.0);
    }
  }
  return workgroup_sum(vec4(mass, 0.0, 0.0), lane).xy;
}

// The highest threshold above which at least `wanted` lies: of the mass, or of the number of tokens.
fn cut_at(row: u32, wanted: f32, of_count: bool, largest: f32, lane: Lane) -> u32 {
  var threshold = 0u;
  for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
    let above = mass_above(row, threshold | bit, largest, lane);
    if (select(above.x, above.y, of_count) >= wanted) {
      threshold |= bit;
    }
  }
  return threshold;
}

// Draws by the inverse of the cumulative weights in the order of ids: invocation i has the i-th run of ids.
fn draw(row: u32, threshold: u32, largest: f32, temperature: f32, uniform_number: f32, best: u32, lane: u32) -> u32 {
  let run = (immediates.n_vocab + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
  let end = min((lane + 1u) * run, immediates.n_vocab);
  var mass = 0.0;
  for (var i = lane * run; i < end; i++) {
    let value = logits[row + i];
    if (order_key(value) >= threshold) {
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
  let wanted = uniform_number * total;
  // Rounding may leave the last invocation with mass short of `wanted` by an ulp: it then keeps its last token.
  if (mass > 0.0 && wanted >= before && (wanted < before + mass || before + mass >= total)) {
    var sum = before;
    for (var i = lane * run; i < end; i++) {
      let value = logits[row + i];
      if (order_key(value) >= threshold) {
        sum += exp((value - largest) / temperature);
        chosen_id = i;
        if (sum > wanted) {
          break;
        }
      }
    }
  }
  return workgroupUniformLoad(&chosen_id);
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
      sampled[2u * workgroup.x] = NONE;
      sampled[2u * workgroup.x + 1u] = frozen;
    }
    return;
  }
  let row = workgroup.x * immediates.n_vocab;
  let best = argmax(row, lane.index);
  let largest = logits[row + best];
  let temperature = bitcast<f32>(workgroupUniformLoad(&slot_control[CONTROL_TEMPERATURE]));
  let top_k = workgroupUniformLoad(&slot_control[CONTROL_TOP_K]);
  let top_p = bitcast<f32>(workgroupUniformLoad(&slot_control[CONTROL_TOP_P]));
  // The largest finite f32; written without arithmetic, which may assume that there is no NaN.
  let numerical = (bitcast<u32>(largest) & 0x7f800000u) == 0x7f800000u;
  var id = best;
  if (!numerical && temperature > 0.0) {
    var threshold = 0u;
    if (top_p < 1.0) {
      let total = mass_above(row, 0u, largest, lane).x;
      threshold = cut_at(row, top_p * total, false, largest, lane);
    }
    if (top_k > 0u && top_k < immediates.n_vocab) {
      threshold = max(threshold, cut_at(row, f32(top_k), true, largest, lane));
    }
    threshold = min(threshold, order_key(largest));
    let bits = threefry(vec2(slot_control[CONTROL_SEED], slot_control[CONTROL_SEED + 1u]),
                        vec2(slot_control[CONTROL_SEQUENCE], slot_control[CONTROL_POSITION] + slot_control[CONTROL_N_GENERATED]));
    id = draw(row, threshold, largest, temperature, f32(bits.x >> 8u) * 0x1p-24f, best, lane.index);
  }
  if (lane.index == 0u) {
    let reason = select(freeze_reason(id), FROZEN_NUMERICAL, numerical);
    control[base + CONTROL_NEXT_TOKEN] = id;
    control[base + CONTROL_FROZEN] = reason;
    control[base + CONTROL_N_GENERATED] = slot_control[CONTROL_N_GENERATED] + 1u;
    sampled[2u * workgroup.x] = select(id, NONE, numerical);
    sampled[2u * workgroup.x + 1u] = reason;
  }
}
