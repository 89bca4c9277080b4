// Changing logits before a token is drawn: penalties for what was generated before, bias, DRY.
#pragma once

#include <optional>

#include "kernels/step.hpp"

namespace ravenwing::kernels {

struct PenaltiesInputs {
  uint32_t n_vocab = 0;
  gpu::BufferView logits;                // [output, n_vocab] f32, changed in place
  gpu::BufferView counts;                // [slot, n_vocab] f32: how often each token was generated, decayed
  gpu::BufferView additions;             // [slot, kAdditionsMax] LogitAddition
  std::optional<uint32_t> workgroups{};  // of a row, for tests; else as the device likes
};

/// For every output row that a token is drawn from, by the slot's ControlBlock:
///   where count > 0:  logit <- logit > 0 ? logit / repetition : logit * repetition
///                     logit <- logit - presence - count * frequency
///   logit <- logit + the slot's additions
/// Rows of other slots and what is not finite stay as they are. `sample` keeps the counts.
/// Moves 4 * n_vocab bytes of counts for a row that counts tokens, nothing for one without penalties and additions.
void penalties(const Context& context, const PenaltiesInputs& inputs);

}  // namespace ravenwing::kernels
