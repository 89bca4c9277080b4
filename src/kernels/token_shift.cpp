// src/kernels/token_shift.cpp
#include "kernels/token_shift.hpp"

namespace ravenwing::kernels {

void token_shift(const Context& context, const TokenShift& op) {
  struct Immediates {
    uint32_t n_embd, stride;
    float epsilon;
  };
  const uint64_t row_bytes = uint64_t(op.n_embd) * 4;
  const gpu::Work work{row_bytes * (2 + op.n_mix + 2 * context.n_chunks + context.n_tokens) +
                       uint64_t(op.n_mix) * context.n_tokens * op.n_embd * context.act_bytes()};
  gpu::ShaderVariant variant = context.row_variant("token_shift", op.n_embd);
  variant.constants.emplace_back("N_MIX", op.n_mix);
  context.recorder.dispatch(op.label, variant,
                            {gpu::read(context.buffers.step), gpu::read(context.buffers.control), gpu::read(op.x),
                             gpu::read(op.vectors), gpu::read_write(op.shift_state), gpu::read_write(op.mixed)},
                            Immediates{op.n_embd, act_stride(op.n_embd), op.epsilon}, gpu::Grid{context.n_tokens},
                            work);
}

}  // namespace ravenwing::kernels
