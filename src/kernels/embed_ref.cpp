// src/kernels/embed_ref.cpp: one row, decoded and normalised.
#include "kernels/embed_ref.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "kernels/layer_norm_ref.hpp"

namespace ravenwing::kernels {

std::vector<double> embed_ref(const EmbedTable& table, uint32_t id, std::span<const float> vectors, float epsilon) {
  const auto& info = format::info(table.format);
  const size_t row_bytes = size_t(table.n_embd) / info.block_weights * info.block_bytes;
  RAVENWING_CHECK(table.rows.size() == row_bytes * table.n_vocab && vectors.size() == 2 * size_t(table.n_embd));
  std::vector<float> row(table.n_embd);
  format::dequantize(table.format, table.rows.data() + row_bytes * std::min(id, table.n_vocab - 1), row);
  return layer_norm_ref(row, vectors.first(table.n_embd), vectors.subspan(table.n_embd), epsilon);
}

}  // namespace ravenwing::kernels
