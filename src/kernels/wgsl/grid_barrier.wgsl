// All workgroups of a dispatch wait for each other: share() what others need, arrive(), wait(). As many workgroups as the
// device surely runs at a time (census()). One that waits too long says so in STALLED and all leave.
// The shader declares `shared_words: array<atomic<u32>>`; from ARRIVED on it has the counters of TokenKernel::Counters.
//@const ARRIVED 0
// How often a workgroup looks whether the others have arrived: for about a second.
//@const SPINS_MAX 1000000
// 0 where stores are known to be there in time (stores_come_first of token.hpp).
//@const EXCHANGES 1

const STALLED = ARRIVED + 1u;
const LEFT = ARRIVED + 2u;
const RESIDENTS = ARRIVED + 3u;
const CENSUS_SPINS = 500u;

var<workgroup> go: u32;
// What the words had before that an invocation has shared.
var<private> replaced: u32;
// For the shader to use in the end, so that no compiler leaves it out.
var<workgroup> unlikely: u32;

// WGSL's barriers order memory within a workgroup only: by its rules a store may reach the GPU's common memory after the
// workgroup has been counted as arrived. What an exchange gives back says that it has been there; arrive() waits for it.
fn share(at: u32, word: u32) {
  if (EXCHANGES == 1u) {
    replaced ^= atomicExchange(&shared_words[at], word);
  } else {
    atomicStore(&shared_words[at], word);
  }
}

fn arrive(lane: u32) {
  if (replaced == 0x7fedfeedu) {
    unlikely = replaced;
  }
  storageBarrier();
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

// Workgroups that were there before the first one left. All of a workgroup's invocations stay: a GPU may give what those
// held that have left to other workgroups.
fn census(lane: u32) {
  if (lane == 0u) {
    count_residents();
  }
  workgroupBarrier();
}

fn count_residents() {
  if (atomicLoad(&shared_words[RESIDENTS]) != 0u) {
    return;
  }
  atomicAdd(&shared_words[ARRIVED], 1u);
  for (var spins = 0u; spins < CENSUS_SPINS; spins++) {
    if (atomicLoad(&shared_words[RESIDENTS]) != 0u) {
      return;
    }
  }
  atomicStore(&shared_words[RESIDENTS], atomicLoad(&shared_words[ARRIVED]));
}

// The last to leave makes the counters ready for the next dispatch.
fn leave(n_workgroups: u32, lane: u32) {
  if (lane == 0u && atomicAdd(&shared_words[LEFT], 1u) == n_workgroups - 1u) {
    atomicStore(&shared_words[ARRIVED], 0u);
    atomicStore(&shared_words[LEFT], 0u);
  }
}
