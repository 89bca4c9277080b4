// Random weights in quantised formats, for synthetic models and for tests.
#pragma once

#include <cstddef>

#include "format/weight_format.hpp"

namespace ravenwing::format {

/// Turns a block of random bytes into one of random weights by setting its f16 scales: the root mean square of its
/// weights is then `deviation`, their mean over many blocks zero. Quantised formats only.
void scale_random_block(WeightFormat format, std::byte* block, float deviation);

}  // namespace ravenwing::format
