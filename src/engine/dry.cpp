// src/engine/dry.cpp
#include "engine/dry.hpp"

#include <algorithm>
#include <cmath>

namespace ravenwing {
namespace {

/// No logit outweighs it.
constexpr double kPenaltyMax = 1000;

/// result[i]: how many values from the beginning on are those from i on (the Z algorithm).
std::vector<size_t> common_prefixes(std::span<const uint32_t> values) {
  std::vector<size_t> result(values.size());
  size_t begin = 0, end = 0;  // the prefix found that reaches furthest lies here
  for (size_t i = 1; i < values.size(); ++i) {
    size_t n = i < end ? std::min(end - i, result[i - begin]) : 0;
    while (i + n < values.size() && values[n] == values[i + n]) ++n;
    result[i] = n;
    if (i + n > end) {
      begin = i;
      end = i + n;
    }
  }
  return result;
}

}  // namespace

std::vector<bool> sequence_breakers(const Tokenizer& tokenizer, std::span<const std::string> breakers) {
  std::vector<bool> result(tokenizer.size());
  for (uint32_t id = 0; id < tokenizer.size(); ++id) {
    result[id] = std::any_of(breakers.begin(), breakers.end(), [&](const std::string& breaker) {
      return !breaker.empty() && tokenizer.bytes(id).find(breaker) != std::string_view::npos;
    });
  }
  return result;
}

std::map<uint32_t, float> dry_penalties(std::span<const uint32_t> history, const SamplerParams& params,
                                        const std::vector<bool>& breakers, size_t n_max) {
  const auto breaks = [&](uint32_t id) { return id < breakers.size() && breakers[id]; };
  const auto recent = history.last(std::min<size_t>(history.size(), params.dry_range));
  const std::vector<uint32_t> backwards(recent.rbegin(), recent.rend());
  const size_t until_breaker = size_t(std::find_if(backwards.begin(), backwards.end(), breaks) - backwards.begin());
  const std::vector<size_t> repeated = common_prefixes(backwards);
  std::map<uint32_t, size_t> longest;  // by the token that followed
  for (size_t i = 1; i < backwards.size(); ++i) {
    const size_t length = std::min(repeated[i], until_breaker);
    const uint32_t next = backwards[i - 1];
    if (length < params.dry_allowed_length || breaks(next)) continue;
    longest[next] = std::max(longest[next], length);
  }
  std::vector<std::pair<size_t, uint32_t>> by_length;
  for (const auto& [id, length] : longest) by_length.emplace_back(length, id);
  std::sort(by_length.rbegin(), by_length.rend());
  by_length.resize(std::min(by_length.size(), n_max));
  std::map<uint32_t, float> penalties;
  for (const auto& [length, id] : by_length) {
    const double power = std::pow(double(params.dry_base), double(length - params.dry_allowed_length));
    penalties[id] = float(std::min(params.dry_multiplier * power, kPenaltyMax));
  }
  return penalties;
}

}  // namespace ravenwing
