// The shapes of an RWKV-7 model, read from its file.
#pragma once

#include <cstdint>

#include "format/model_file.hpp"
#include "ravenwing/state_storage.hpp"

namespace ravenwing::rwkv7 {

inline constexpr float kLayerNormEpsilon = 1e-5f;   // RWKV-LM; in GGUF attention.layer_norm_epsilon
inline constexpr float kGroupNormEpsilon = 64e-5f;  // RWKV-LM: head_size_divisor^2 * 1e-5, the same at every width
inline constexpr float kKeyNormEpsilon = 1e-12f;    // torch.nn.functional.normalize's default

/// Shapes of a model; all from the file's own tensors, checked against its metadata where it has any.
struct Config {
  uint32_t n_layer = 0;
  uint32_t n_embd = 0;
  uint32_t n_head = 0;
  uint32_t head_size = 0;
  uint32_t n_ffn = 0;
  uint32_t n_vocab = 0;
  uint32_t rank_w = 0, rank_a = 0, rank_v = 0, rank_g = 0;  // low-rank pairs; rank_v is 0 in a model of one layer
  float layer_norm_epsilon = kLayerNormEpsilon;

  /// Of one sequence: per layer the wkv matrices and two token shifts, which are f32.
  uint64_t state_bytes(StateStorage storage) const {
    return uint64_t(n_layer) * n_embd * (head_size * value_bytes(storage) + 2 * sizeof(float));
  }

  bool operator==(const Config&) const = default;
};

}  // namespace ravenwing::rwkv7
