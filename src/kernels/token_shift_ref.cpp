// src/kernels/token_shift_ref.cpp: token after token.
#include "kernels/token_shift_ref.hpp"

#include "base/error.hpp"
#include "kernels/layer_norm_ref.hpp"

namespace ravenwing::kernels {

TokenShiftResult token_shift_ref(std::span<const float> x, std::span<const float> vectors,
                                 std::span<const float> shift_state, float epsilon) {
  const size_t n_embd = shift_state.size();
  const size_t n_tokens = x.size() / n_embd;
  const size_t n_mix = vectors.size() / n_embd - 2;
  RAVENWING_CHECK(x.size() == n_tokens * n_embd && vectors.size() == (2 + n_mix) * n_embd);
  TokenShiftResult result{std::vector<double>(n_mix * x.size()), {shift_state.begin(), shift_state.end()}};
  for (size_t token = 0; token < n_tokens; ++token) {
    const std::vector<double> own = layer_norm_ref(x.subspan(token * n_embd, n_embd), vectors.first(n_embd),
                                                   vectors.subspan(n_embd, n_embd), epsilon);
    for (size_t mix = 0; mix < n_mix; ++mix) {
      for (size_t d = 0; d < n_embd; ++d) {
        result.mixed[(mix * n_tokens + token) * n_embd + d] =
            own[d] + (result.shift_state[d] - own[d]) * vectors[(2 + mix) * n_embd + d];
      }
    }
    result.shift_state = own;
  }
  return result;
}

}  // namespace ravenwing::kernels
