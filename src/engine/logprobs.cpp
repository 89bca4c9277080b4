// src/engine/logprobs.cpp
#include "engine/logprobs.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ravenwing {

double log_sum_exp(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

TokenLogprobs token_logprobs(std::span<const float> logits, uint32_t id, uint32_t n_top) {
  const double total = log_sum_exp(logits);
  const auto logprob = [&](uint32_t token) { return TokenLogprob{token, float(logits[token] - total)}; };
  std::vector<uint32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto end = ids.begin() + ptrdiff_t(std::min<size_t>(n_top, ids.size()));
  std::partial_sort(ids.begin(), end, ids.end(),
                    [&](uint32_t a, uint32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); });
  TokenLogprobs result{logprob(id), {}};
  // A token that cannot come has no logarithm.
  for (auto top = ids.begin(); top != end && std::isfinite(logits[*top]); ++top) result.top.push_back(logprob(*top));
  return result;
}

}  // namespace ravenwing
