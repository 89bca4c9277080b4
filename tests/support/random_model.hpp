// RWKV-7 models of any shape with random weights, as files of either container.
#pragma once

#include <cstdint>
#include <filesystem>

#include "format/weight_format.hpp"
#include "support/gguf_writer.hpp"
#include "support/safetensors_writer.hpp"

namespace ravenwing::test {

/// Rows of quantised matrices must be whole blocks: with Q4_K, n_embd, n_ffn (and ranks, if low_rank is) are multiples
/// of 256.
struct RandomModelOptions {
  uint32_t n_layer = 2;
  uint32_t n_embd = 64;
  uint32_t head_size = 16;
  uint32_t n_ffn = 128;
  uint32_t n_vocab = 300;  // at least 257: id 0 and the bytes
  uint32_t rank_w = 16, rank_a = 12, rank_v = 8, rank_g = 20;
  format::WeightFormat matrices = format::WeightFormat::f16;
  format::WeightFormat head = format::WeightFormat::f16;
  format::WeightFormat emb = format::WeightFormat::f16;
  format::WeightFormat low_rank = format::WeightFormat::f16;
  uint32_t seed = 1;
};

/// A model of a few kilobytes.
RandomModelOptions smallest_model();

/// The model as a writer, so that tests can spoil it. Weights of matrices have a deviation of about 1/sqrt(n_in);
/// vectors lie where trained models have them. Both containers of the same options hold the same weights, bit for bit.
GgufWriter random_gguf(const RandomModelOptions& options);
/// Plain formats only.
SafetensorsWriter random_safetensors(const RandomModelOptions& options);

/// The model with the weights of its products rounded to f16, as tier T2 multiplies by them. Embeddings stay.
GgufWriter with_f16_products(GgufWriter model);

void write_random_gguf(const std::filesystem::path& path, const RandomModelOptions& options);
void write_random_safetensors(const std::filesystem::path& path, const RandomModelOptions& options);

}  // namespace ravenwing::test
