// Writing GGUF files (v3).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "format/weight_format.hpp"

namespace ravenwing::format {

/// What a GGUF file will hold; the data of the tensors follows the header in the same order, each padded to kAlignment.
struct GgufOutline {
  static constexpr uint64_t kAlignment = 32;

  struct Tensor {
    std::string name;
    WeightFormat format = WeightFormat::f32;
    std::vector<uint64_t> shape;  // slowest dimension first; rows are whole blocks

    uint64_t n_elements() const;
    uint64_t n_bytes() const;
  };

  std::vector<std::pair<std::string, std::variant<uint32_t, float, std::string>>> metadata;
  std::vector<Tensor> tensors;

  /// The bytes before the first tensor's data, padded.
  std::string header() const;
};

}  // namespace ravenwing::format
