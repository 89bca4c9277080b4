// src/kernels/pool_ref.cpp
#include "kernels/pool_ref.hpp"

#include "kernels/layer_norm_ref.hpp"

namespace ravenwing::kernels {

std::vector<double> pool_ref(std::span<const float> x, uint32_t n_embd, const PoolNorm* norm) {
  std::vector<double> sums(n_embd);
  for (; !x.empty(); x = x.subspan(n_embd)) {
    const auto row = x.first(n_embd);
    const std::vector<double> values = norm != nullptr ? layer_norm_ref(row, norm->weight, norm->bias, norm->epsilon)
                                                       : std::vector<double>(row.begin(), row.end());
    for (uint32_t d = 0; d < n_embd; ++d) sums[d] += values[d];
  }
  return sums;
}

}  // namespace ravenwing::kernels
