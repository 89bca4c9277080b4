// DRY: finding which tokens would repeat a stretch of the text.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ravenwing/sampler_params.hpp"
#include "ravenwing/tokenizer.hpp"

namespace ravenwing {

/// By id, whether a token's bytes contain one of `breakers`.
std::vector<bool> sequence_breakers(const Tokenizer& tokenizer, std::span<const std::string> breakers);

/// What each token's logit loses after `history`, by id. Where the last n tokens stood before already, followed by a
/// token t, t would extend a repetition of n; the longest one counts. A repetition reaches neither beyond the last
/// dry_range tokens nor beyond a breaker, and a breaker extends none. Of more than `n_max` ids those with the largest
/// penalties stay. Takes time linear in the range.
std::map<uint32_t, float> dry_penalties(std::span<const uint32_t> history, const SamplerParams& params,
                                        const std::vector<bool>& breakers, size_t n_max);

}  // namespace ravenwing
