// src/kernels/sample.cpp
#include "kernels/sample.hpp"

namespace ravenwing::kernels {
namespace {

SampleShape shape_of(const gpu::Device& device) {
  // Software Vulkan takes most of a minute to compile 16 loads written out.
  if (device.info().software) return {};
  constexpr uint32_t kEach = 16, kInvocations = 1024, kStorageBytes = 32768;
  const DeviceLimits& limits = device.limits();
  if (limits.invocations_per_workgroup_max < kInvocations || limits.workgroup_storage_bytes_max < kStorageBytes)
    return {.each = kEach};
  // One row is all the work there is: as many loads in flight as one core has registers for.
  return {.invocations = kInvocations, .each = kEach, .list_max = 2048};
}

}  // namespace

void sample(const Context& context, const SampleInputs& inputs) {
  struct Immediates {
    uint32_t n_vocab;
  };
  const SampleShape shape = inputs.shape.value_or(shape_of(context.recorder.device()));
  gpu::ShaderVariant variant = context.reducing_variant("sample", shape.invocations);
  variant.constants.emplace_back("EACH", shape.each);
  variant.constants.emplace_back("LIST_MAX", shape.list_max);
  context.recorder.dispatch("sample", variant,
                            {gpu::read(context.buffers.step), gpu::read_write(context.buffers.control),
                             gpu::read(inputs.logits), gpu::read_write(inputs.counts), gpu::read_write(inputs.sampled)},
                            Immediates{inputs.n_vocab}, gpu::Grid{context.n_outputs},
                            {uint64_t(context.n_outputs) * (inputs.n_vocab * 4 + sizeof(ControlBlock))});
}

}  // namespace ravenwing::kernels
