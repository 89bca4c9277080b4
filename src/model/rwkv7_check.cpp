// src/model/rwkv7_check.cpp
#include "model/rwkv7_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace ravenwing::rwkv7 {
namespace {

/// Weights that are decoded at once.
constexpr uint64_t kPieceWeights = 1 << 20;

bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

template <typename Visit>
void for_each_vector(const LayerSource& layer, Visit visit) {
  const std::pair<const char*, const Vector*> vectors[] = {{"ln1.weight", &layer.ln1_weight},
                                                           {"ln1.bias", &layer.ln1_bias},
                                                           {"ln2.weight", &layer.ln2_weight},
                                                           {"ln2.bias", &layer.ln2_bias},
                                                           {"x_r", &layer.x_r},
                                                           {"x_w", &layer.x_w},
                                                           {"x_k", &layer.x_k},
                                                           {"x_v", &layer.x_v},
                                                           {"x_a", &layer.x_a},
                                                           {"x_g", &layer.x_g},
                                                           {"w0", &layer.w0},
                                                           {"a0", &layer.a0},
                                                           {"v0", &layer.v0},
                                                           {"k_k", &layer.k_k},
                                                           {"k_a", &layer.k_a},
                                                           {"r_k", &layer.r_k},
                                                           {"ffn.x_k", &layer.ffn_x_k},
                                                           {"ln_x.weight", &layer.ln_x_weight},
                                                           {"ln_x.bias", &layer.ln_x_bias}};
  for (const auto& [name, vector] : vectors) visit(name, *vector);
}

std::vector<const MatrixSource*> matrices_of(const ModelSource& source) {
  std::vector<const MatrixSource*> matrices = {&source.emb, &source.head};
  for (const LayerSource& layer : source.layers) {
    matrices.insert(matrices.end(),
                    {&layer.receptance, &layer.key, &layer.value, &layer.output, &layer.ffn_key, &layer.ffn_value});
    for (const LowRankSource* pair : {&layer.w, &layer.a, &layer.v, &layer.g}) {
      if (pair->down) matrices.insert(matrices.end(), {&pair->down, &pair->up});
    }
  }
  return matrices;
}

uint64_t n_weights(const MatrixSource& matrix) { return uint64_t(matrix.n_out) * matrix.n_in; }

/// `progress` is told how many rows were looked at.
bool is_finite(const MatrixSource& matrix, const std::function<void(uint32_t n_rows)>& progress) {
  const auto n_rows = uint32_t(std::clamp<uint64_t>(kPieceWeights / matrix.n_in, 1, matrix.n_out));
  std::vector<float> values;
  for (uint32_t row = 0; row < matrix.n_out; row += n_rows) {
    const uint32_t end = std::min(row + n_rows, matrix.n_out);
    values.resize(size_t(end - row) * matrix.n_in);
    matrix.decode_rows(row, end, values.data());
    progress(end - row);
    if (!all_finite(values)) return false;
  }
  return true;
}

}  // namespace

std::vector<std::string> nonfinite_vectors(const ModelSource& source) {
  std::vector<std::string> found;
  const std::pair<const char*, const Vector*> outer[] = {{"ln0.weight", &source.ln0_weight},
                                                         {"ln0.bias", &source.ln0_bias},
                                                         {"ln_out.weight", &source.ln_out_weight},
                                                         {"ln_out.bias", &source.ln_out_bias}};
  for (const auto& [name, vector] : outer) {
    if (!all_finite(*vector)) found.emplace_back(name);
  }
  for (size_t i = 0; i < source.layers.size(); ++i) {
    for_each_vector(source.layers[i], [&](const char* name, const Vector& vector) {
      if (!all_finite(vector)) found.push_back(fmt::format("layer {}: {}", i, name));
    });
  }
  return found;
}

std::vector<std::string> nonfinite_weights(const ModelSource& source,
                                           const std::function<void(uint64_t done, uint64_t total)>& progress) {
  std::vector<std::string> found = nonfinite_vectors(source);
  const std::vector<const MatrixSource*> matrices = matrices_of(source);
  uint64_t done = 0, total = 0;
  for (const MatrixSource* matrix : matrices) total += n_weights(*matrix);
  for (const MatrixSource* matrix : matrices) {
    const uint64_t end = done + n_weights(*matrix);
    const auto count = [&](uint32_t n_rows) {
      done += uint64_t(n_rows) * matrix->n_in;
      if (progress) progress(done, total);
    };
    if (!is_finite(*matrix, count)) found.push_back(matrix->tensor->name);
    done = end;
  }
  return found;
}

}  // namespace ravenwing::rwkv7
