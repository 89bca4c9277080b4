// Layer norm followed by token shift: the inputs of a time mix (six) or a channel mix (one).
#pragma once

#include <optional>

#include "kernels/step.hpp"

namespace ravenwing::kernels {

struct TokenShift {
  std::string label;
  uint32_t n_embd = 0;
  uint32_t n_mix = 0;  // 6 or 1
  float epsilon = 0;
  gpu::BufferView x;            // [token, n_embd] f32
  gpu::BufferView vectors;      // [2 + n_mix, n_embd] f32: layer norm's weight and bias, then the coefficients
  gpu::BufferView shift_state;  // [slot, n_embd] f32, updated in place
  gpu::BufferView mixed;        // [n_mix, tokens_max, act_stride(n_embd)] Act
  bool exact = false;           // one token a workgroup, always
  /// Tokens of a workgroup. None: by the device and the plan's size.
  std::optional<uint32_t> tokens{};
  bool mixed_f32 = false;  // `mixed` is f32 on every tier
};

/// mixed_m = xx + (previous xx - xx) * x_m, xx = layer_norm(x). Source: RWKV-LM, rwkv_v7_numpy.py.
void token_shift(const Context& context, const TokenShift& op);

}  // namespace ravenwing::kernels
