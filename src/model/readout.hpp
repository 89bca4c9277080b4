// What a step is for, if not for logits.
#pragma once

#include "kernels/step_input.hpp"

namespace ravenwing::rwkv7 {

/// One vector for each text, of the residual stream after the first layers.
struct Readout {
  uint32_t n_layers = 0;  // 1 to the model's; 0: logits
  kernels::Pooled pooled = kernels::Pooled::last;
  bool normed = false;  // by the layer norm that the head's input has; after all layers alone
  auto operator<=>(const Readout&) const = default;
};

}  // namespace ravenwing::rwkv7
