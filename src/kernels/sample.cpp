// src/kernels/sample.cpp
#include "kernels/sample.hpp"

namespace ravenwing::kernels {

void sample(const Context& context, uint32_t n_vocab, const gpu::BufferView& logits, const gpu::BufferView& sampled) {
  struct Immediates {
    uint32_t n_vocab;
  };
  context.recorder.dispatch("sample", context.reducing_variant("sample", 256),
                            {gpu::read(context.buffers.step), gpu::read_write(context.buffers.control), gpu::read(logits), gpu::read_write(sampled)},
                            Immediates{n_vocab}, gpu::Grid{context.n_outputs});
}

}  // namespace ravenwing::kernels
