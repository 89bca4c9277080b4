// Choosing the next token on the GPU.
#pragma once

#include <optional>

#include "kernels/step.hpp"

namespace ravenwing::kernels {

/// How a workgroup goes through a row.
struct SampleShape {
  uint32_t invocations = 256;
  uint32_t each = 1;         // logits that an invocation has on their way at once
  uint32_t list_max = 1024;  // candidates that the workgroup's memory has room for, at least `invocations`
};

struct SampleInputs {
  uint32_t n_vocab = 0;
  gpu::BufferView logits;   // [output, n_vocab] f32, after penalties
  gpu::BufferView counts;   // [slot, n_vocab] f32: how often each token was generated, decayed
  gpu::BufferView sampled;  // [output, 3] u32, out: the id (kNoToken for a slot frozen before), Frozen, mirostat's mu
  std::optional<SampleShape> shape{};  // for tests; else the device's
};

/// For every output row that asks for it: draws a token as the slot's ControlBlock says, puts it there, and freezes the
/// slot at a stop token, at the limit or when the logits are not finite. Where the token stays in the text (it does not
/// at a stop token) it moves mirostat's mu, and where the slot's penalties look at counts, all of them decay before it
/// is counted.
/// One workgroup reads the row of logits once for the largest, once for the draw where more than a list of candidates
/// is left, and two to four times for each filter until one leaves no more than that; then never again.
void sample(const Context& context, const SampleInputs& inputs);

}  // namespace ravenwing::kernels
