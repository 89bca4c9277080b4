// Choosing the next token on the GPU.
#pragma once

#include "kernels/step.hpp"

namespace ravenwing::kernels {

struct SampleInputs {
  uint32_t n_vocab = 0;
  gpu::BufferView logits;   // [output, n_vocab] f32, after penalties
  gpu::BufferView counts;   // [slot, n_vocab] f32: the token is added, where the slot's penalties look at counts
  gpu::BufferView sampled;  // [output, 2] u32, out: the id (kNoToken for a slot frozen before) and Frozen
};

/// For every output row that asks for it: draws a token as the slot's ControlBlock says, puts it there, counts it,
/// moves mirostat's mu, and freezes the slot at a stop token, at the limit or when the logits are not finite.
void sample(const Context& context, const SampleInputs& inputs);

}  // namespace ravenwing::kernels
