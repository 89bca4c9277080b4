// src/kernels/token_shift.cpp
#include "kernels/token_shift.hpp"

#include <algorithm>

#include "base/bytes.hpp"

namespace ravenwing::kernels {
namespace {

/// Tokens of a workgroup where a step has more of them than a large GPU has cores: at 2560 elements the vectors are
/// 80 KB, a row is 10. One for each of so many, up to the most that there are registers for.
constexpr uint32_t kSeveralMax = 4, kStepOfOne = 128;

uint32_t tokens_of_workgroup(const Context& context, const TokenShift& op) {
  if (op.tokens) return *op.tokens;
  // A compiler may round in one shader otherwise than in another: in exact mode there is one. For software, which
  // compiles slowly, memory is near.
  if (op.exact || context.recorder.device().info().software) return 1;
  return std::clamp(uint32_t(divide_up(context.n_tokens, kStepOfOne)), 1u, kSeveralMax);
}

}  // namespace

void token_shift(const Context& context, const TokenShift& op) {
  struct Immediates {
    uint32_t n_embd, stride;
    float epsilon;
  };
  const uint64_t row_bytes = uint64_t(op.n_embd) * 4;
  const gpu::Work work{row_bytes * (2 + op.n_mix + 2 * context.n_chunks + context.n_tokens) +
                       uint64_t(op.n_mix) * context.n_tokens * op.n_embd * context.act_bytes()};
  gpu::ShaderVariant variant = context.row_variant("token_shift", op.n_embd);
  if (op.mixed_f32) variant.modules.front().second = "act_f32";
  const uint32_t tokens = tokens_of_workgroup(context, op);
  variant.constants.insert(variant.constants.end(),
                           {{"N_MIX", op.n_mix}, {"TOKENS", tokens}, {"SUMS", uint32_t(divide_up(tokens + 2, 4))}});
  context.recorder.dispatch(op.label, variant,
                            {gpu::read(context.buffers.step), gpu::read(context.buffers.control), gpu::read(op.x),
                             gpu::read(op.vectors), gpu::read_write(op.shift_state), gpu::read_write(op.mixed)},
                            Immediates{op.n_embd, act_stride(op.n_embd), op.epsilon},
                            gpu::Grid{uint32_t(divide_up(context.n_tokens, tokens))}, work);
}

}  // namespace ravenwing::kernels
