// src/kernels/layer_norm_ref.cpp: layer norm in double.
#include "kernels/layer_norm_ref.hpp"

#include <cmath>

#include "base/error.hpp"

namespace ravenwing::kernels {

std::vector<double> layer_norm_ref(std::span<const float> x, std::span<const float> weight, std::span<const float> bias,
                                   float epsilon) {
  RAVENWING_CHECK(!x.empty() && weight.size() == x.size() && bias.size() == x.size());
  double sum = 0, sum_of_squares = 0;
  for (const float value : x) sum += value;
  const double mean = sum / double(x.size());
  for (const float value : x) sum_of_squares += (value - mean) * (value - mean);
  const double deviation = std::sqrt(sum_of_squares / double(x.size()) + double(epsilon));
  std::vector<double> normed(x.size());
  for (size_t i = 0; i < x.size(); ++i) normed[i] = (x[i] - mean) / deviation * weight[i] + bias[i];
  return normed;
}

}  // namespace ravenwing::kernels
