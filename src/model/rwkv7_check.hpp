// Looking for weights that are no numbers.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/rwkv7_tensors.hpp"

namespace ravenwing::rwkv7 {

/// What holds NaN or infinity among the vectors of a model, which were decoded when it was opened: "layer 3: k_k".
std::vector<std::string> nonfinite_vectors(const ModelSource& source);

/// The same for all of a model. Reads and decodes every weight: seconds for each gigabyte. `progress` may throw.
std::vector<std::string> nonfinite_weights(const ModelSource& source,
                                           const std::function<void(uint64_t done, uint64_t total)>& progress = {});

}  // namespace ravenwing::rwkv7
