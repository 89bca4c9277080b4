// src/kernels/pool.cpp
#include "kernels/pool.hpp"

namespace ravenwing::kernels {

void pool(const Context& context, const Pool& pool) {
  struct Immediates {
    uint32_t n_embd;
    float epsilon;
  };
  const bool of_all = pool.pooled == Pooled::sum;
  gpu::ShaderVariant variant = context.row_variant("pool", pool.n_embd);
  variant.constants.insert(variant.constants.end(), {{"MEAN", of_all}, {"NORMED", pool.normed}});
  const uint64_t n_rows = of_all ? context.n_tokens : context.n_chunks;
  context.recorder.dispatch(
      "pool", std::move(variant),
      {gpu::read(context.buffers.step), gpu::read(pool.x), gpu::read(pool.vectors), gpu::read_write(pool.sums)},
      Immediates{pool.n_embd, pool.epsilon}, gpu::Grid{context.n_chunks},
      {(n_rows + context.n_chunks) * pool.n_embd * 4});
}

}  // namespace ravenwing::kernels
