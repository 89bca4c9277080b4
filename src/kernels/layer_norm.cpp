// src/kernels/layer_norm.cpp
#include "kernels/layer_norm.hpp"

namespace ravenwing::kernels {

void layer_norm(const Context& context, const std::string& label, uint32_t n_embd, float epsilon,
                const gpu::BufferView& x, const gpu::BufferView& vectors, const gpu::BufferView& normed) {
  struct Immediates {
    uint32_t n_embd, stride;
    float epsilon;
  };
  context.recorder.dispatch(
      label, context.row_variant("layer_norm", n_embd),
      {gpu::read(context.buffers.step), gpu::read(x), gpu::read(vectors), gpu::read_write(normed)},
      Immediates{n_embd, act_stride(n_embd), epsilon}, gpu::Grid{context.n_outputs},
      {uint64_t(n_embd) * (2 * 4 + context.n_outputs * (4 + context.act_bytes()))});
}

}  // namespace ravenwing::kernels
