// The CPU oracle of penalties.
#pragma once

#include <span>

#include "kernels/step_input.hpp"

namespace ravenwing::kernels {

/// penalties() on one row and its slot's counts, both [n_vocab].
void penalties_ref(std::span<float> logits, std::span<const float> counts, const SamplerParams& params,
                   std::span<const LogitAddition> additions);

/// What sampling does to the counts once `id` is drawn and stays: all decay, then it is one more, unless it is never
/// counted.
void count_token_ref(std::span<float> counts, const SamplerParams& params, uint32_t id,
                     std::span<const uint32_t> uncounted);

}  // namespace ravenwing::kernels
