// What is done to a product's elements before they are stored; shader and oracle share the numbers.
#pragma once

#include <cstdint>

namespace ravenwing::kernels {

enum class Activation : uint32_t { none = 0, tanh = 1, sigmoid = 2, squared_relu = 3 };

/// Squares are stored in parts of this, so that f16 holds those of values up to 4 095: max(x, 0)^2 / kSquareUnit.
inline constexpr float kSquareUnit = 256;

}  // namespace ravenwing::kernels
