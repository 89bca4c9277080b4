// src/kernels/time_mix.cpp
#include "kernels/time_mix.hpp"

#include <algorithm>
#include <bit>

namespace ravenwing::kernels {
namespace {

constexpr uint32_t kBlockMax = 16;
constexpr uint32_t kSharesMax = 4;
constexpr uint64_t kFlopsPerElement = 9;  // of the state and token: S kk, the update, S r

/// Tokens whose inputs a workgroup has room for: r w k kk kk*a v y of each channel, sums of each quad.
uint32_t block_tokens(const Context& context, uint32_t head_size) {
  const uint32_t token_bytes = head_size * 7 * 4 + head_size / 4 * 8 + 8;
  const uint32_t room = context.recorder.device().limits().workgroup_storage_bytes_max;
  return std::bit_floor(std::clamp(room / token_bytes, 1u, std::min(kBlockMax, head_size)));
}

uint32_t shares_of(const Context& context, uint32_t head_size) {
  const DeviceInfo& device = context.recorder.device().info();
  if (device.software) return 0;
  if (context.tier() == gpu::Tier::t0) return 1;
  // A state of 64 x 64 is too little work for 64 invocations that wait for each other's sums.
  uint32_t shares = kSharesMax;
  while (shares > 1 && (head_size * shares > device.limits.invocations_per_workgroup_max ||
                        head_size / 4 % shares != 0 || shares > device.subgroup_size_min))
    shares /= 2;
  return shares;
}

/// The largest power of two of neighbours that each have a part of a row of `quads`, at most `most`.
uint32_t neighbours(const Context& context, uint32_t quads, uint32_t most) {
  uint32_t result = std::min(most, std::bit_floor(context.recorder.device().info().subgroup_size_min));
  while (quads % result != 0) result /= 2;
  return result;
}

TimeMixForm form_of(const Context& context, const TimeMix& op) {
  const DeviceInfo& device = context.recorder.device().info();
  // Each shader more takes software seconds to compile.
  if (op.form) return *op.form;
  if (op.exact || device.software || context.tier() == gpu::Tier::t0) return TimeMixForm::blocks;
  return context.n_tokens <= context.n_chunks ? TimeMixForm::tokens : TimeMixForm::blocks;
}

gpu::ShaderVariant blocks_variant(const Context& context, const TimeMix& op) {
  gpu::ShaderVariant variant = context.variant("time_mix");
  variant.constants.emplace_back("HEAD_SIZE", op.head_size);
  variant.constants.emplace_back("BLOCK", block_tokens(context, op.head_size));
  variant.constants.emplace_back("QUADS", op.head_size / 4);
  const uint32_t shares = op.shares.value_or(shares_of(context, op.head_size));
  variant.modules.emplace_back("state", shares > 0 ? "state_registers" : "state_loops");
  variant.modules.emplace_back("share", shares > 1 ? "share_subgroup" : "share_alone");
  if (shares > 0) {
    variant.constants.emplace_back("SHARES", shares);
    variant.constants.emplace_back("STATE_QUADS", op.head_size / 4 / shares);
  }
  return variant;
}

gpu::ShaderVariant tokens_variant(const Context& context, const TimeMix& op) {
  const uint32_t quads = op.head_size / 4;
  const uint32_t shares =
      neighbours(context, quads, std::min(16u, context.recorder.device().limits().invocations_per_workgroup_max / quads));
  gpu::ShaderVariant variant = context.variant("time_mix_token");
  variant.constants.insert(variant.constants.end(), {{"HEAD_SIZE", op.head_size},
                                                     {"QUADS", quads},
                                                     {"SHARES", shares},
                                                     {"QUADS_EACH", quads / shares}});
  return variant;
}

}  // namespace

void time_mix(const Context& context, const TimeMix& op) {
  struct Immediates {
    uint32_t n_embd, stride, first_layer;
    float epsilon;
  };
  const uint64_t state_size = uint64_t(op.n_embd) * op.head_size;
  const bool tokens = form_of(context, op) == TimeMixForm::tokens;
  context.recorder.dispatch(
      op.label, tokens ? tokens_variant(context, op) : blocks_variant(context, op),
      {gpu::read(context.buffers.step), gpu::read(context.buffers.control), gpu::read(op.r_k_v), gpu::read(op.up),
       gpu::read_write(op.v_first), gpu::read(op.vectors), gpu::read_write(op.wkv_state), gpu::read_write(op.gated)},
      Immediates{op.n_embd, act_stride(op.n_embd), op.first_layer, op.epsilon},
      gpu::Grid{op.n_embd / op.head_size, context.n_chunks},
      {8 * state_size * context.n_chunks, kFlopsPerElement * state_size * context.n_tokens});
}

}  // namespace ravenwing::kernels
