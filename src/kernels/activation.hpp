// What is done to a product's elements before they are stored; shader and oracle share the numbers.
#pragma once

#include <cstdint>

namespace ravenwing::kernels {

enum class Activation : uint32_t { none = 0, tanh = 1, sigmoid = 2, relu = 3 };

}  // namespace ravenwing::kernels
