// The CPU oracle of the embedding.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "format/weight_format.hpp"

namespace ravenwing::kernels {

/// A table of embeddings as its file has it: n_vocab rows of n_embd weights.
struct EmbedTable {
  format::WeightFormat format = format::WeightFormat::f32;
  uint32_t n_vocab = 0, n_embd = 0;
  std::span<const std::byte> rows;
};

/// layer_norm(row of the id), of the last row for ids of n_vocab and more. vectors [2, n_embd]: weight, bias.
std::vector<double> embed_ref(const EmbedTable& table, uint32_t id, std::span<const float> vectors, float epsilon);

}  // namespace ravenwing::kernels
