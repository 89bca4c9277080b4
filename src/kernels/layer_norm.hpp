// Layer norm of the rows that want logits.
#pragma once

#include "kernels/step.hpp"

namespace ravenwing::kernels {

/// normed[o] = layer_norm(x[token of output o]) for every output row o of the step.
///   x [token, n_embd] f32;  vectors [2, n_embd] f32: weight, bias;  normed [output, act_stride(n_embd)] Act
void layer_norm(const Context& context, const std::string& label, uint32_t n_embd, float epsilon,
                const gpu::BufferView& x, const gpu::BufferView& vectors, const gpu::BufferView& normed);

}  // namespace ravenwing::kernels
