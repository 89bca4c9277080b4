// The states of texts that begin.
#pragma once

#include "kernels/step.hpp"

namespace ravenwing::kernels {

struct BeginStates {
  std::string label;
  gpu::BufferView states;  // [layer][slot, slot_bytes]
  uint32_t n_layers = 0;
  uint64_t layer_bytes = 0;  // from one layer to the next, a multiple of 16
  uint64_t slot_bytes = 0;   // likewise
};

/// For every chunk of the step that does not go on from its slot (StepChunk::after): the slot's states become zero, or
/// those of the slot that it goes on from, which begins no text in the same step.
void begin_states(const Context& context, const BeginStates& begin);

}  // namespace ravenwing::kernels
