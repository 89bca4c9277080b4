// src/kernels/sample_ref.cpp: sampling in double, written for reading.
#include "kernels/sample_ref.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/error.hpp"

namespace ravenwing::kernels {
namespace {

/// Tokens that may still be drawn, by descending logit.
using Candidates = std::vector<float>;

/// The softmax of the candidates.
std::vector<double> probabilities(const Candidates& candidates, double temperature = 1) {
  std::vector<double> result;
  for (const float logit : candidates)
    result.push_back(std::exp((double(logit) - double(candidates[0])) / temperature));
  const double total = std::accumulate(result.begin(), result.end(), 0.0);
  for (double& probability : result) probability /= total;
  return result;
}

/// Keeps what `keep(i)` says, and nothing less than one candidate.
template <typename Keep>
void filter(Candidates& candidates, Keep keep) {
  Candidates kept;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (keep(i)) kept.push_back(candidates[i]);
  }
  RAVENWING_CHECK(!kept.empty());
  candidates = std::move(kept);
}

void top_k(Candidates& candidates, uint32_t k) {
  if (k == 0 || k >= candidates.size()) return;
  const float cut = candidates[k - 1];
  filter(candidates, [&](size_t i) { return candidates[i] >= cut; });
}

void top_p(Candidates& candidates, double p) {
  if (p == 1) return;
  const std::vector<double> probability = probabilities(candidates);
  size_t last = 0;
  for (double sum = probability[0]; sum < p && last + 1 < candidates.size(); sum += probability[last]) ++last;
  const float cut = candidates[last];
  filter(candidates, [&](size_t i) { return candidates[i] >= cut; });
}

void min_p(Candidates& candidates, double p) {
  if (p == 0) return;
  const std::vector<double> probability = probabilities(candidates);
  filter(candidates, [&](size_t i) { return probability[i] >= p * probability[0]; });
}

void typical_p(Candidates& candidates, double p) {
  if (p == 1) return;
  const std::vector<double> probability = probabilities(candidates);
  double entropy = 0;
  for (const double each : probability) entropy -= each > 0 ? each * std::log(each) : 0;
  std::vector<double> distance;
  for (const double each : probability) distance.push_back(std::abs(-std::log(each) - entropy));
  std::vector<size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return distance[a] < distance[b]; });
  size_t last = 0;
  for (double sum = probability[order[0]]; sum < p && last + 1 < order.size(); sum += probability[order[last]]) ++last;
  // Equal logits have equal distances; what rounding parts is not a tie.
  const double cut = distance[order[last]];
  filter(candidates, [&](size_t i) { return distance[i] <= cut; });
}

void xtc(Candidates& candidates, double threshold) {
  const std::vector<double> probability = probabilities(candidates);
  size_t n_above = 0;
  while (n_above < probability.size() && probability[n_above] >= threshold) ++n_above;
  if (n_above == 0) return;
  const float last = candidates[n_above - 1];
  filter(candidates, [&](size_t i) { return candidates[i] <= last; });
}

float begun_mu(const SamplerParams& params, float mu) { return mu == 0 ? 2 * params.mirostat_tau : mu; }

void mirostat(Candidates& candidates, const SamplerParams& params, float mu) {
  const std::vector<double> probability = probabilities(candidates, params.temperature);
  filter(candidates, [&](size_t i) { return i == 0 || -std::log2(probability[i]) <= begun_mu(params, mu); });
}

void apply_filters(Candidates& candidates, const SamplerParams& params, const SampleState& state) {
  if (params.mirostat_tau > 0) return mirostat(candidates, params, state.mirostat_mu);
  if (params.order == SamplerOrder::rwkv) {
    top_p(candidates, params.top_p);
    top_k(candidates, params.top_k);
    min_p(candidates, params.min_p);
    typical_p(candidates, params.typical_p);
  } else {
    top_k(candidates, params.top_k);
    typical_p(candidates, params.typical_p);
    top_p(candidates, params.top_p);
    min_p(candidates, params.min_p);
  }
  if (state.xtc_number < params.xtc_probability) xtc(candidates, params.xtc_threshold);
}

}  // namespace

RandomNumbers random_numbers(uint64_t seed, uint32_t sequence, uint32_t position) {
  const auto bits = threefry_2x32_20({uint32_t(seed), uint32_t(seed >> 32)}, {sequence, position});
  return {float(bits[0] >> 8) * 0x1p-24f, float(bits[1] >> 8) * 0x1p-24f};
}

std::vector<double> sample_distribution_ref(std::span<const float> logits, const SamplerParams& params,
                                            const SampleState& state) {
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

  Candidates candidates(logits.begin(), logits.end());
  std::sort(candidates.begin(), candidates.end(), std::greater<>());
  apply_filters(candidates, params, state);

  // p^(1/T) up to a factor; by the logits, because p itself may underflow where its power does not.
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] > candidates.front() || logits[id] < candidates.back()) continue;
    distribution[id] = std::exp((double(logits[id]) - double(candidates.front())) / double(params.temperature));
  }
  const double total = std::accumulate(distribution.begin(), distribution.end(), 0.0);
  for (double& probability : distribution) probability /= total;
  return distribution;
}

uint32_t sample_ref(std::span<const float> logits, const SamplerParams& params, uint32_t sequence, uint32_t position,
                    float mirostat_mu) {
  const RandomNumbers numbers = random_numbers(params.seed, sequence, position);
  const std::vector<double> distribution = sample_distribution_ref(logits, params, {numbers.xtc, mirostat_mu});
  // Not 1, but what the loop below adds up to: the last token of any probability must be in reach.
  const double total = std::accumulate(distribution.begin(), distribution.end(), 0.0);
  const double wanted = double(numbers.token) * total;
  double sum = 0;
  size_t id = 0;
  for (; id + 1 < distribution.size(); ++id) {
    sum += distribution[id];
    if (sum > wanted) break;
  }
  return uint32_t(id);
}

double mirostat_mu_ref(std::span<const float> logits, const SamplerParams& params, float mirostat_mu, uint32_t id) {
  const double mu = begun_mu(params, mirostat_mu);
  if (params.temperature == 0) return mirostat_mu;
  const double p = sample_distribution_ref(logits, params, {.mirostat_mu = mirostat_mu})[id];
  return mu - params.mirostat_eta * (-std::log2(p) - params.mirostat_tau);
}

}  // namespace ravenwing::kernels
