// One vector for a text.
#pragma once

#include "kernels/step.hpp"

namespace ravenwing::kernels {

struct Pool {
  uint32_t n_embd = 0;
  float epsilon = 0;
  Pooled pooled = Pooled::last;
  gpu::BufferView x;        // [token, n_embd] f32
  gpu::BufferView vectors;  // weight, bias of a layer norm: [2, n_embd] f32
  bool normed = false;      // each token's row by that, first
  gpu::BufferView sums;     // [slot, n_embd] f32
};

/// For every chunk of the step: the row of its last token becomes its slot's row of `sums`; or the rows of all are
/// added to it in their order, from zero where the text begins (StepChunk::after).
void pool(const Context& context, const Pool& pool);

}  // namespace ravenwing::kernels
