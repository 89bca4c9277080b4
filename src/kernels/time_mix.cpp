// src/kernels/time_mix.cpp
#include "kernels/time_mix.hpp"

#include <algorithm>
#include <bit>

namespace ravenwing::kernels {
namespace {

constexpr uint32_t kBlockMax = 16;

/// Tokens whose inputs a workgroup has room for: r w k kk kk*a v y of each channel, sums of each quad and part.
uint32_t block_tokens(const Context& context, uint32_t head_size) {
  const uint32_t token_bytes = head_size * 7 * 4 + head_size / 4 * 8 + 8;
  const uint32_t room = context.recorder.device().limits().workgroup_storage_bytes_max - 2 * 4 * head_size;
  return std::bit_floor(std::clamp(room / token_bytes, 1u, std::min(kBlockMax, head_size)));
}

}  // namespace

void time_mix(const Context& context, const TimeMix& op) {
  struct Immediates {
    uint32_t n_embd, stride, first_layer;
    float epsilon;
  };
  gpu::ShaderVariant variant = context.variant("time_mix");
  variant.constants.emplace_back("HEAD_SIZE", op.head_size);
  variant.constants.emplace_back("BLOCK", block_tokens(context, op.head_size));
  variant.constants.emplace_back("QUADS", op.head_size / 4);
  const bool unrolled = op.unrolled.value_or(!context.recorder.device().info().software);
  variant.modules.emplace_back("state", unrolled ? "state_registers" : "state_loops");
  context.recorder.dispatch(
      op.label, variant,
      {gpu::read(context.buffers.step), gpu::read(context.buffers.control), gpu::read(op.r_k_v), gpu::read(op.up),
       gpu::read_write(op.v_first), gpu::read(op.vectors), gpu::read_write(op.wkv_state), gpu::read_write(op.gated)},
      Immediates{op.n_embd, act_stride(op.n_embd), op.first_layer, op.epsilon},
      gpu::Grid{op.n_embd / op.head_size, context.n_chunks});
}

}  // namespace ravenwing::kernels
