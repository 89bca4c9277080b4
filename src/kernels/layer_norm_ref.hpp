// The CPU oracle of layer norm.
#pragma once

#include <span>
#include <vector>

namespace ravenwing::kernels {

/// (x - mean) / sqrt(variance + epsilon) * weight + bias of one row; the variance is that of the whole population.
std::vector<double> layer_norm_ref(std::span<const float> x, std::span<const float> weight, std::span<const float> bias,
                                   float epsilon);

}  // namespace ravenwing::kernels
