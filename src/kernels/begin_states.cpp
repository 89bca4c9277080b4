// src/kernels/begin_states.cpp
#include "kernels/begin_states.hpp"

#include "base/bytes.hpp"

namespace ravenwing::kernels {

void begin_states(const Context& context, const BeginStates& begin) {
  constexpr uint32_t kWorkgroupSize = 256, kEach = 8;
  RAVENWING_CHECK(begin.slot_bytes % 16 == 0 && begin.layer_bytes % 16 == 0);
  struct Immediates {
    uint32_t slot_quads, layer_quads;
  };
  const Immediates immediates{narrow<uint32_t>(begin.slot_bytes / 16), narrow<uint32_t>(begin.layer_bytes / 16)};
  gpu::ShaderVariant variant;
  variant.shader = "begin_states";
  variant.constants = {{"TOKENS_MAX", context.buffers.tokens_max}, {"WORKGROUP_SIZE", kWorkgroupSize}, {"EACH", kEach}};
  context.recorder.dispatch(
      begin.label, std::move(variant), {gpu::read(context.buffers.step), gpu::read_write(begin.states)}, immediates,
      gpu::Grid{uint32_t(divide_up(immediates.slot_quads, kWorkgroupSize * kEach)), begin.n_layers, context.n_chunks},
      {begin.slot_bytes * begin.n_layers * context.n_chunks});
}

}  // namespace ravenwing::kernels
