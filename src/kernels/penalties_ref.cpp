// src/kernels/penalties_ref.cpp: penalties in double, written for reading.
#include "kernels/penalties_ref.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"

namespace ravenwing::kernels {
namespace {

double penalised(double logit, double count, const SamplerParams& params) {
  const double repetition = params.repetition_penalty;
  const double divided = logit > 0 ? logit / repetition : logit * repetition;
  return divided - params.presence_penalty - count * params.frequency_penalty;
}

}  // namespace

void penalties_ref(std::span<float> logits, std::span<const float> counts, const SamplerParams& params,
                   std::span<const LogitAddition> additions) {
  params.validate();
  RAVENWING_CHECK(logits.size() == counts.size() && additions.size() <= kAdditionsMax);
  std::vector<double> sums(logits.begin(), logits.end());
  for (size_t id = 0; params.counts_tokens() && id < sums.size(); ++id) {
    if (counts[id] != 0) sums[id] = penalised(sums[id], counts[id], params);
  }
  for (const LogitAddition& addition : additions) sums[addition.id] += addition.value;
  for (size_t id = 0; id < sums.size(); ++id) {
    if (std::isfinite(logits[id])) logits[id] = float(sums[id]);
  }
}

void count_token_ref(std::span<float> counts, const SamplerParams& params, uint32_t id,
                     std::span<const uint32_t> uncounted) {
  if (!params.counts_tokens()) return;
  for (float& count : counts) count *= params.penalty_decay;
  if (std::find(uncounted.begin(), uncounted.end(), id) == uncounted.end()) counts[id] += 1;
}

}  // namespace ravenwing::kernels
