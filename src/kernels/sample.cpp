// src/kernels/sample.cpp
#include "kernels/sample.hpp"

namespace ravenwing::kernels {

void sample(const Context& context, const SampleInputs& inputs) {
  struct Immediates {
    uint32_t n_vocab;
  };
  context.recorder.dispatch("sample", context.reducing_variant("sample", 256),
                            {gpu::read(context.buffers.step), gpu::read_write(context.buffers.control),
                             gpu::read(inputs.logits), gpu::read_write(inputs.counts), gpu::read_write(inputs.sampled)},
                            Immediates{inputs.n_vocab}, gpu::Grid{context.n_outputs},
                            {uint64_t(context.n_outputs) * (inputs.n_vocab * 4 + sizeof(ControlBlock))});
}

}  // namespace ravenwing::kernels
