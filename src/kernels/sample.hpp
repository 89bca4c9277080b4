// Choosing the next token on the GPU.
#pragma once

#include "kernels/step.hpp"

namespace ravenwing::kernels {

struct SampleInputs {
  uint32_t n_vocab = 0;
  gpu::BufferView logits;   // [output, n_vocab] f32, after penalties
  gpu::BufferView counts;   // [slot, n_vocab] f32: how often each token was generated, decayed
  gpu::BufferView sampled;  // [output, 3] u32, out: the id (kNoToken for a slot frozen before), Frozen, mirostat's mu
};

/// For every output row that asks for it: draws a token as the slot's ControlBlock says, puts it there, and freezes the
/// slot at a stop token, at the limit or when the logits are not finite. Where the token stays in the text (it does not
/// at a stop token) it moves mirostat's mu, and where the slot's penalties look at counts, all of them decay before it
/// is counted.
void sample(const Context& context, const SampleInputs& inputs);

}  // namespace ravenwing::kernels
