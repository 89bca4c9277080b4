// The CPU oracle of the whole forward pass: plain loops, one sequence, one token at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/rwkv7_tensors.hpp"
#include "ravenwing/hooks.hpp"

namespace ravenwing::rwkv7 {

/// All of a sequence's memory, in float: zero at the start of a text.
struct RefState {
  explicit RefState(const Config& config);
  std::vector<float> time_shift;     // [n_layer, n_embd]
  std::vector<float> wkv;            // [n_layer, n_head, head_size (value channel), head_size (key channel)]
  std::vector<float> channel_shift;  // [n_layer, n_embd]
};

/// What the weights of products are rounded to; tier T2 multiplies by f16. Embeddings never are.
enum class WeightRounding { none, f16 };

/// RWKV-7 as in DESIGN of the time mix and channel mix (docs/model.md), matrices decoded to float once, sums in double.
/// Source: RWKV-LM, RWKV-v7/rwkv_v7_numpy.py. Needs 4 bytes per weight; meant for small models.
class Reference {
 public:
  explicit Reference(const ModelSource& source, WeightRounding rounding = WeightRounding::none);

  /// Feeds `ids` and returns the logits after each of them, [ids.size(), n_vocab].
  std::vector<float> forward(std::span<const uint32_t> ids, RefState& state) const;
  /// The same, and returns the residual stream after the first `n_layers` layers, or of all of them what the head
  /// reads: [ids.size(), n_embd].
  std::vector<float> hidden(std::span<const uint32_t> ids, RefState& state, uint32_t n_layers, bool normed) const;

  /// Called at every point of every layer with the values of one token; what it leaves is gone on with.
  void set_hook(std::function<void(const HookCall& call)> hook) { hook_ = std::move(hook); }

  const Config& config() const { return source_.config; }

 private:
  struct Matrix {
    uint32_t n_out = 0, n_in = 0;
    std::vector<float> values;
  };
  struct Layer {
    Matrix receptance, key, value, output, ffn_key, ffn_value;
    Matrix w1, w2, a1, a2, v1, v2, g1, g2;
  };
  static Matrix decode(const MatrixSource& source, WeightRounding rounding);
  static std::vector<float> multiply(const Matrix& matrix, std::span<const float> x);
  /// Feeds one id to the first layers; the residual stream after them.
  std::vector<float> advance(uint32_t id, RefState& state, size_t n_layers) const;
  std::vector<float> normed(const std::vector<float>& x) const;
  void look(HookPoint point, LayerHalf half, size_t layer, std::span<float> values) const;
  void time_mix(size_t layer, std::vector<float>& x, std::vector<float>& v_first, RefState& state) const;
  void channel_mix(size_t layer, std::vector<float>& x, RefState& state) const;

  ModelSource source_;
  Matrix emb_, head_;
  std::vector<Layer> layers_;
  std::function<void(const HookCall& call)> hook_;
};

}  // namespace ravenwing::rwkv7
