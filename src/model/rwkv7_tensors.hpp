// The tensors of an RWKV-7 file under one set of names, whatever the container: found, checked, not yet copied.
#pragma once

#include <vector>

#include "format/model_file.hpp"
#include "model/rwkv7_config.hpp"

namespace ravenwing::rwkv7 {

/// A matrix in the file, seen as W [n_out, n_in] with y = W x.
struct MatrixSource {
  const format::Tensor* tensor = nullptr;  // null: the model has none (v1, v2 of layer 0)
  uint32_t n_out = 0, n_in = 0;
  bool transposed = false;  // the file holds [n_in, n_out] (low-rank matrices of safetensors); plain floats only

  explicit operator bool() const { return tensor != nullptr; }
  /// Rows [row_begin, row_end) as float, row-major: (row_end - row_begin) * n_in values.
  void decode_rows(uint32_t row_begin, uint32_t row_end, float* out) const;
};

using Vector = std::vector<float>;  // a small vector, decoded when the file is opened

struct LowRankSource {
  MatrixSource down;  // [rank, n_embd]: w1 a1 v1 g1
  MatrixSource up;    // [n_embd, rank]: w2 a2 v2 g2
};

struct LayerSource {
  Vector ln1_weight, ln1_bias, ln2_weight, ln2_bias;  // [n_embd]
  Vector x_r, x_w, x_k, x_v, x_a, x_g;                // [n_embd], token shift of the time mix
  Vector w0, a0, v0;                                  // [n_embd], biases of the low-rank pairs; v0 empty in layer 0
  Vector k_k, k_a, r_k;                               // [n_embd]
  Vector ln_x_weight, ln_x_bias;                      // [n_embd], group norm
  Vector ffn_x_k;                                     // [n_embd], token shift of the channel mix
  LowRankSource w, a, v, g;                           // v absent in layer 0
  MatrixSource receptance, key, value, output;        // [n_embd, n_embd]
  MatrixSource ffn_key, ffn_value;                    // [n_ffn, n_embd], [n_embd, n_ffn]
};

/// Everything a forward pass needs, pointing into `file`, which must outlive it.
struct ModelSource {
  Config config;
  MatrixSource emb;                   // [n_vocab, n_embd]
  Vector ln0_weight, ln0_bias;        // [n_embd], applied to the embedding
  Vector ln_out_weight, ln_out_bias;  // [n_embd]
  MatrixSource head;                  // [n_vocab, n_embd]
  std::vector<LayerSource> layers;
};

/// Finds and checks every tensor. Throws Error{bad_file, unsupported} naming file, tensor and reason: a missing tensor,
/// a wrong shape, ranks or sizes that disagree with the metadata, an architecture other than rwkv7.
ModelSource read_model_source(const format::ModelFile& file);

}  // namespace ravenwing::rwkv7
