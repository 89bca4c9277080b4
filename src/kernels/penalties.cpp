// src/kernels/penalties.cpp
#include "kernels/penalties.hpp"

#include "base/bytes.hpp"

namespace ravenwing::kernels {
namespace {

struct Split {
  uint32_t each, workgroups;  // as in penalties.wgsl
};

Split split_of(const Context& context, const PenaltiesInputs& inputs) {
  constexpr uint32_t kWorkgroupSize = 256, kEach = 4;
  // Software Vulkan has no memory to wait for, and compiles what is written out slowly.
  const Split split = context.recorder.device().info().software
                          ? Split{1, 1}
                          : Split{kEach, uint32_t(divide_up(inputs.n_vocab, kEach * kWorkgroupSize))};
  return inputs.workgroups ? Split{kEach, *inputs.workgroups} : split;
}

}  // namespace

void penalties(const Context& context, const PenaltiesInputs& inputs) {
  struct Immediates {
    uint32_t n_vocab;
  };
  gpu::ShaderVariant variant = context.variant("penalties");
  variant.constants.emplace_back("ADDITIONS_MAX", kAdditionsMax);
  const Split split = split_of(context, inputs);
  variant.constants.emplace_back("EACH", split.each);
  context.recorder.dispatch("penalties", variant,
                            {gpu::read(context.buffers.step), gpu::read(context.buffers.control),
                             gpu::read_write(inputs.logits), gpu::read(inputs.counts), gpu::read(inputs.additions)},
                            Immediates{inputs.n_vocab}, gpu::Grid{split.workgroups, context.n_outputs},
                            // Whether a row has penalties, only its control block knows.
                            {uint64_t(context.n_outputs) * sizeof(ControlBlock)});
}

}  // namespace ravenwing::kernels
