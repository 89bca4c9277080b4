// The CPU oracle of pool.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ravenwing::kernels {

struct PoolNorm {
  std::span<const float> weight, bias;
  float epsilon = 0;
};

/// The sum of rows `x`, [n, n_embd], each by that layer norm first, if there is one.
std::vector<double> pool_ref(std::span<const float> x, uint32_t n_embd, const PoolNorm* norm);

}  // namespace ravenwing::kernels
