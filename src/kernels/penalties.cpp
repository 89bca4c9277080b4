// src/kernels/penalties.cpp
#include "kernels/penalties.hpp"

namespace ravenwing::kernels {

void penalties(const Context& context, const PenaltiesInputs& inputs) {
  struct Immediates {
    uint32_t n_vocab;
  };
  gpu::ShaderVariant variant = context.variant("penalties");
  variant.constants.emplace_back("ADDITIONS_MAX", kAdditionsMax);
  context.recorder.dispatch("penalties", variant,
                            {gpu::read(context.buffers.step), gpu::read(context.buffers.control),
                             gpu::read_write(inputs.logits), gpu::read(inputs.counts), gpu::read(inputs.additions)},
                            Immediates{inputs.n_vocab}, gpu::Grid{context.n_outputs},
                            // Whether a row has penalties, only its control block knows.
                            {uint64_t(context.n_outputs) * sizeof(ControlBlock)});
}

}  // namespace ravenwing::kernels
