// src/kernels/embed.cpp
#include "kernels/embed.hpp"

#include <algorithm>

#include "base/bytes.hpp"

namespace ravenwing::kernels {

void embed(const Context& context, const MatrixView& part, uint32_t row_begin, uint32_t n_vocab, float epsilon,
           const gpu::BufferView& vectors, const gpu::BufferView& x, uint64_t binding_bytes_max) {
  struct Immediates {
    uint32_t n_embd;
    float epsilon;
    uint32_t n_vocab, row_begin, row_end, row_words, weight_offset;
  };
  gpu::ShaderVariant variant = context.row_variant("embed", uint32_t(divide_up(part.n_in, 8)));
  variant.modules.emplace_back("format", format_module(part.format));
  variant.modules.emplace_back("rows", rows_module(part.format));
  const DeviceLimits& limits = context.recorder.device().limits();
  const uint64_t limit =
      binding_bytes_max ? std::min(binding_bytes_max, limits.binding_bytes_max) : limits.binding_bytes_max;
  const uint64_t bytes_per_row = row_bytes(part.format, part.n_in);
  const uint64_t rows_max =
      rows_in(part.format, part.n_in, limit - std::min<uint64_t>(limit, limits.binding_alignment));
  if (rows_max == 0)
    fail(ErrorCode::unsupported, "[embed] rows of {} bytes exceed the binding limit of {}",
         matrix_bytes(part.format, 1, part.n_in), limit);
  for (uint64_t row = 0; row < part.n_rows; row += rows_max) {
    const uint64_t row_end = std::min<uint64_t>(row + rows_max, part.n_rows);
    const uint64_t begin = part.rows.offset + row * bytes_per_row;
    gpu::BufferView window = part.rows;
    window.offset = begin / limits.binding_alignment * limits.binding_alignment;
    window.size = begin - window.offset + matrix_bytes(part.format, uint32_t(row_end - row), part.n_in);
    context.recorder.dispatch(
        fmt::format("embed {}", format::info(part.format).name), variant,
        {gpu::read(context.buffers.step), gpu::read(context.buffers.control), gpu::read(window), gpu::read(vectors),
         gpu::read_write(x)},
        Immediates{part.n_in, epsilon, n_vocab, uint32_t(row_begin + row), uint32_t(row_begin + row_end),
                   part.row_words(), uint32_t((begin - window.offset) / 4)},
        gpu::Grid{context.n_tokens},
        // Of the tokens whose rows are in this window, if all rows are alike.
        {uint64_t(part.n_in) * 8 + context.n_tokens * (bytes_per_row + part.n_in * 4) * (row_end - row) / n_vocab});
  }
}

}  // namespace ravenwing::kernels
