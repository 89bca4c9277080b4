// Penalties, bias and DRY on the logits of every output row that a token is drawn from. One workgroup: one row. Each
// invocation owns the ids congruent to its index, so that no two touch one logit. Oracle: penalties_ref.cpp.
//@import step
//@import control
//@const WORKGROUP_SIZE 256
//@const ADDITIONS_MAX 2048

struct Immediates {
  n_vocab: u32,
}

struct Addition {
  id: u32,
  value: f32,
}

@group(0) @binding(2) var<storage, read_write> logits: array<f32>;  // [output row, n_vocab]
@group(0) @binding(3) var<storage, read> counts: array<f32>;  // [slot, n_vocab]
@group(0) @binding(4) var<storage, read> additions: array<Addition>;  // [slot, ADDITIONS_MAX]
var<immediate> immediates: Immediates;

// What is not finite stays, for sampling to find; by the bits, because arithmetic may assume that there is no such thing.
fn finite(value: f32) -> bool {
  return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}

fn penalise(row: u32, slot: u32, lane: u32) {
  let presence = bitcast<f32>(control_word(slot, CONTROL_PRESENCE_PENALTY));
  let frequency = bitcast<f32>(control_word(slot, CONTROL_FREQUENCY_PENALTY));
  let repetition = bitcast<f32>(control_word(slot, CONTROL_REPETITION_PENALTY));
  if (!counts_tokens(presence, frequency, repetition)) {
    return;
  }
  for (var id = lane; id < immediates.n_vocab; id += WORKGROUP_SIZE) {
    let count = counts[slot * immediates.n_vocab + id];
    if (count > 0.0) {
      let logit = logits[row + id];
      if (finite(logit)) {
        logits[row + id] = select(logit * repetition, logit / repetition, logit > 0.0) - presence - count * frequency;
      }
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) workgroup: vec3<u32>) {
  if (workgroup.x >= step_n_outputs()) {
    return;
  }
  let output_row = step_output(workgroup.x);
  if (output_row.sample == 0u || control_frozen(output_row.slot)) {
    return;
  }
  let row = workgroup.x * immediates.n_vocab;
  penalise(row, output_row.slot, lane);
  for (var i = 0u; i < min(control_word(output_row.slot, CONTROL_N_ADDITIONS), ADDITIONS_MAX); i++) {
    let addition = additions[output_row.slot * ADDITIONS_MAX + i];
    if (addition.id % WORKGROUP_SIZE == lane && addition.id < immediates.n_vocab) {
      let logit = logits[row + addition.id];
      if (finite(logit)) {
        logits[row + addition.id] = logit + addition.value;
      }
    }
  }
}
