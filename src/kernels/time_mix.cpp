// src/kernels/time_mix.cpp
#include "kernels/time_mix.hpp"

namespace ravenwing::kernels {

void time_mix(const Context& context, const TimeMix& op) {
  struct Immediates {
    uint32_t n_embd, stride, first_layer;
    float epsilon;
  };
  gpu::ShaderVariant variant = context.variant("time_mix");
  variant.constants.emplace_back("HEAD_SIZE", op.head_size);
  variant.constants.emplace_back("UNROLLED", op.unrolled.value_or(!context.recorder.device().info().software));
  context.recorder.dispatch(
      op.label, variant,
      {gpu::read(context.buffers.step), gpu::read(context.buffers.control), gpu::read(op.r_k_v), gpu::read(op.up),
       gpu::read_write(op.v_first), gpu::read(op.vectors), gpu::read_write(op.wkv_state), gpu::read_write(op.gated)},
      Immediates{op.n_embd, act_stride(op.n_embd), op.first_layer, op.epsilon},
      gpu::Grid{op.n_embd / op.head_size, context.n_chunks});
}

}  // namespace ravenwing::kernels
