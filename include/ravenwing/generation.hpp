// How a text is continued, and what came of it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ravenwing/sampler_params.hpp"

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

enum class FinishReason {
  stop,       // a stop token or a stop string
  length,     // max_tokens reached
  cancelled,  // the caller's callback said so
};
std::string_view name(FinishReason reason);

struct GenerateOptions {
  uint32_t max_tokens = 256;
  std::vector<uint32_t> stop_tokens = {0};  // at most 16; id 0 is the end of a text
  std::vector<std::string> stop{};          // the text ends before the first of these
  /// How many of the most probable tokens Completion::logprobs lists, 0 to 20; none: no logprobs. Costs a read of a row
  /// of logits per token.
  std::optional<uint32_t> logprobs{};
  /// Called with each piece of text that is certain (whole characters, no part of a stop string); false ends the call.
  /// Bytes of a character that max_tokens cut in two come with the next call, if that goes on without new ids.
  std::function<bool(std::string_view text)> on_text{};
  /// Called with each id when the CPU sees that it was drawn. A stop string may take the last ones back.
  std::function<void(uint32_t id)> on_token{};
  /// The last member: GCC 12 warns of uninitialised memory where one whose construction may throw comes after it.
  SamplerParams sampler{};
};

struct Timings {
  uint64_t prefill_tokens = 0, decode_tokens = 0;
  double prefill_ms = 0, decode_ms = 0;
};

/// ln p(id) by the untempered softmax of the model's own logits, before bias, penalties and filters.
struct TokenLogprob {
  uint32_t id = 0;
  float logprob = 0;
};

struct TokenLogprobs {
  TokenLogprob token;             // the one generated
  std::vector<TokenLogprob> top;  // the most probable ones, in descending order
};

struct Completion {
  std::string text;
  std::vector<uint32_t> ids;            // without the stop token, and without those that a stop string is part of
  std::vector<TokenLogprobs> logprobs;  // one for each of ids, if asked for
  FinishReason finish_reason = FinishReason::length;
  Timings timings;
};

}  // namespace ravenwing
#pragma GCC visibility pop
