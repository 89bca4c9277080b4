// Log-probabilities of tokens from a row of logits.
#pragma once

#include <cstdint>
#include <span>

#include "ravenwing/engine.hpp"

namespace ravenwing {

inline constexpr uint32_t kLogprobsMax = 20;

/// ln of the sum of exp(logit), summed in double. ln softmax(logits)[id] is logits[id] less this.
double log_sum_exp(std::span<const float> logits);

/// The id's ln softmax(logits) and the `n_top` largest ones.
TokenLogprobs token_logprobs(std::span<const float> logits, uint32_t id, uint32_t n_top);

}  // namespace ravenwing
