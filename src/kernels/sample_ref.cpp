// src/kernels/sample_ref.cpp: sampling in double, written for reading.
#include "kernels/sample_ref.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "base/error.hpp"

namespace ravenwing::kernels {
namespace {

constexpr float kNoCut = -std::numeric_limits<float>::infinity();

/// The logit of the first token, in descending order, at which the sum of softmax(logits) reaches top_p.
float top_p_cut(std::span<const float> descending, float top_p) {
  if (top_p == 1.0f) return kNoCut;
  const auto weight = [&](float logit) { return std::exp(double(logit) - double(descending[0])); };
  double total = 0;
  for (const float logit : descending) total += weight(logit);
  double sum = 0;
  for (const float logit : descending) {
    sum += weight(logit);
    if (sum >= double(top_p) * total) return logit;
  }
  return kNoCut;
}

}  // namespace

float uniform_number(uint64_t seed, uint32_t sequence, uint32_t position) {
  const auto bits = threefry_2x32_20({uint32_t(seed), uint32_t(seed >> 32)}, {sequence, position});
  return float(bits[0] >> 8) * 0x1p-24f;
}

std::vector<double> sample_distribution_ref(std::span<const float> logits, const SamplerParams& params) {
  params.validate();
  RAVENWING_CHECK(!logits.empty());
  RAVENWING_CHECK(std::none_of(logits.begin(), logits.end(), [](float logit) { return std::isnan(logit); }));
  std::vector<double> distribution(logits.size(), 0.0);
  const auto largest = std::max_element(logits.begin(), logits.end());  // the first of equal ones
  RAVENWING_CHECK(std::isfinite(*largest));
  if (params.temperature == 0) {
    distribution[size_t(largest - logits.begin())] = 1;
    return distribution;
  }

  std::vector<float> descending(logits.begin(), logits.end());
  std::sort(descending.begin(), descending.end(), std::greater<>());
  float cut = top_p_cut(descending, params.top_p);
  if (params.top_k > 0 && params.top_k < logits.size()) cut = std::max(cut, descending[params.top_k - 1]);

  // p^(1/T) up to a factor; by the logits, because p itself may underflow where its power does not.
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] < cut) continue;
    distribution[id] = std::exp((double(logits[id]) - double(*largest)) / double(params.temperature));
  }
  const double total = std::accumulate(distribution.begin(), distribution.end(), 0.0);
  for (double& probability : distribution) probability /= total;
  return distribution;
}

uint32_t sample_ref(std::span<const float> logits, const SamplerParams& params, uint32_t sequence, uint32_t position) {
  const std::vector<double> distribution = sample_distribution_ref(logits, params);
  // Not 1, but what the loop below adds up to: the last token of any probability must be in reach.
  const double total = std::accumulate(distribution.begin(), distribution.end(), 0.0);
  const double wanted = double(uniform_number(params.seed, sequence, position)) * total;
  double sum = 0;
  size_t id = 0;
  for (; id + 1 < distribution.size(); ++id) {
    sum += distribution[id];
    if (sum > wanted) break;
  }
  return uint32_t(id);
}

}  // namespace ravenwing::kernels
