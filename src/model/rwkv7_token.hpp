// The forward pass of one token as the stages of kernels/token.hpp.
#pragma once

#include <optional>

#include "kernels/token.hpp"
#include "model/rwkv7_state.hpp"
#include "model/rwkv7_weights.hpp"

namespace ravenwing::rwkv7 {

/// What the stages hand to each other lies after the residual streams of `tokens_max` tokens.
kernels::TokenLayout token_layout(const Config& config, uint32_t tokens_max);

/// Its buffers are the caller's to fill in. None where a matrix lies in several buffers.
std::optional<kernels::TokenModel> token_model(const Config& config, const Weights& weights, const StateArenas& states,
                                               const kernels::TokenLayout& layout);

}  // namespace ravenwing::rwkv7
