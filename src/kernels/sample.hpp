// Choosing the next token on the GPU.
#pragma once

#include "kernels/step.hpp"

namespace ravenwing::kernels {

/// For every output row that asks for it: draws a token as the slot's ControlBlock says, puts it there, counts it, and
/// freezes the slot at a stop token, at the limit or when the logits are not finite.
///   logits [output, n_vocab] f32;  sampled [output, 2] u32: the id (kNoToken for a slot frozen before) and Frozen
void sample(const Context& context, uint32_t n_vocab, const gpu::BufferView& logits, const gpu::BufferView& sampled);

}  // namespace ravenwing::kernels
