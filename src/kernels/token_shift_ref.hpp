// The CPU oracle of layer norm and token shift.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ravenwing::kernels {

struct TokenShiftResult {
  std::vector<double> mixed;        // [n_mix, token, n_embd]
  std::vector<double> shift_state;  // [n_embd]: the last token's layer norm, what was given where there is no token
};

/// xx = layer_norm(x), mixed_m = xx + (previous xx - xx) * x_m for the tokens of one sequence; `shift_state` [n_embd]
/// comes before the first. x [token, n_embd]; vectors [2 + n_mix, n_embd]: layer norm's weight and bias, then the
/// coefficients.
TokenShiftResult token_shift_ref(std::span<const float> x, std::span<const float> vectors,
                                 std::span<const float> shift_state, float epsilon);

}  // namespace ravenwing::kernels
