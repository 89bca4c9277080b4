// Penalties, bias and DRY on the logits of every output row that a token is drawn from. One workgroup: every so many runs
// of WORKGROUP_SIZE ids of a row, which no other touches. Grid: x: workgroups of a row, y: rows. Oracle: penalties_ref.cpp.
//@import step
//@import control
//@const WORKGROUP_SIZE 256
// Runs whose counts are on their way at once.
//@const EACH 1
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

fn penalise(row: u32, slot: u32, begin: u32, stride: u32) {
  let presence = bitcast<f32>(control_word(slot, CONTROL_PRESENCE_PENALTY));
  let frequency = bitcast<f32>(control_word(slot, CONTROL_FREQUENCY_PENALTY));
  let repetition = bitcast<f32>(control_word(slot, CONTROL_REPETITION_PENALTY));
  if (!counts_tokens(presence, frequency, repetition)) {
    return;
  }
  for (var first = begin; first < immediates.n_vocab; first += EACH * stride) {
    //@repeat I EACH
    let id_$I = min(first + $Iu * stride, immediates.n_vocab - 1u);
    let count_$I = counts[slot * immediates.n_vocab + id_$I];
    //@end
    //@repeat I EACH
    if (count_$I > 0.0 && first + $Iu * stride < immediates.n_vocab) {
      let logit = logits[row + id_$I];
      if (finite(logit)) {
        logits[row + id_$I] = select(logit * repetition, logit / repetition, logit > 0.0) - presence - count_$I * frequency;
      }
    }
    //@end
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) workgroup: vec3<u32>,
        @builtin(num_workgroups) n_workgroups: vec3<u32>) {
  if (workgroup.y >= step_n_outputs()) {
    return;
  }
  let output_row = step_output(workgroup.y);
  if (output_row.sample == 0u || control_frozen(output_row.slot)) {
    return;
  }
  let row = workgroup.y * immediates.n_vocab;
  penalise(row, output_row.slot, workgroup.x * WORKGROUP_SIZE + lane, n_workgroups.x * WORKGROUP_SIZE);
  // An addition may be on a logit that another invocation of the workgroup has penalised.
  storageBarrier();
  let n_additions = min(control_word(output_row.slot, CONTROL_N_ADDITIONS), ADDITIONS_MAX);
  for (var i = lane; i < n_additions; i += WORKGROUP_SIZE) {
    let addition = additions[output_row.slot * ADDITIONS_MAX + i];
    if (addition.id / WORKGROUP_SIZE % n_workgroups.x == workgroup.x && addition.id < immediates.n_vocab) {
      let logit = logits[row + addition.id];
      if (finite(logit)) {
        logits[row + addition.id] = logit + addition.value;
      }
    }
  }
}
