// How the next token is chosen from the logits. docs/sampling.md has the formulas.
#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ravenwing/error.hpp"

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

/// The order of the filters. Each works on the tokens that the former ones left, their probabilities renormalised;
/// the temperature comes last. Logit bias and penalties come before all of them.
///   rwkv:   top_p, top_k, min_p, typical_p, XTC: the first two cut the softmax of the whole vocabulary, as ChatRWKV
///   llama:  top_k, typical_p, top_p, min_p, XTC: as llama.cpp
enum class SamplerOrder : uint8_t { rwkv, llama };

/// One token of what is left after the filters is drawn with weights p^(1 / temperature). The draw depends on the
/// logits, the parameters, the seed and the position only.
struct SamplerParams {
  static constexpr size_t kLogitBiasMax = 1024;
  static constexpr uint32_t kDryRangeMax = 65536;

  float temperature = 1.0f;  // finite, >= 0; 0: always the most probable token (the lowest id of equal ones)
  uint32_t top_k = 0;        // the k most probable; 0: off
  float top_p = 0.85f;       // the most probable that have this much together; above 0, at most 1; 1: off
  uint64_t seed = 0;
  SamplerOrder order = SamplerOrder::rwkv;
  float min_p = 0;      // those at least this times as probable as the first; 0 to 1; 0: off
  float typical_p = 1;  // those of the most typical surprise that have this much together; above 0, at most 1; 1: off

  // Penalties look at how often the session has generated a token. A count decays with every token generated; blanks,
  // tabs and single digits are never counted. Counting goes on while requests ask for one of the three penalties.
  float presence_penalty = 0;    // subtracted from the logit of a token that occurred; -100 to 100
  float frequency_penalty = 0;   // subtracted for each occurrence; -100 to 100
  float repetition_penalty = 1;  // divides the logit of a token that occurred, multiplies a negative one; 0.01 to 100
  float penalty_decay = 0.996f;  // of all counts, per token; 0 to 1
  std::map<uint32_t, float> logit_bias{};  // added to the logits of these ids, -100 to 100; at most kLogitBiasMax

  // XTC: with this probability all tokens at least as probable as the threshold go, but for the least probable of them.
  float xtc_probability = 0;   // 0 to 1; 0: off
  float xtc_threshold = 0.1f;  // above 0, at most 1

  // Mirostat 2 instead of the filters: a cut that steers the surprise per token towards tau bits.
  float mirostat_tau = 0;     // 0 to 100; 0: off
  float mirostat_eta = 0.1f;  // how fast it steers; 0 to 1

  // DRY: a token that would extend a repetition of n >= dry_allowed_length tokens loses
  // dry_multiplier * dry_base^(n - dry_allowed_length) of its logit.
  float dry_multiplier = 0;         // 0 to 100; 0: off
  float dry_base = 1.75f;           // 1 to 100
  uint32_t dry_allowed_length = 2;  // at least 1
  uint32_t dry_range = 4096;        // how many of the session's last tokens are looked at; 1 to kDryRangeMax
  /// A token that has one of these in its text belongs to no repetition. Empty ones are ignored.
  std::vector<std::string> dry_sequence_breakers = {"\n", ":", "\"", "*"};

  /// Whether the counts of tokens matter.
  bool counts_tokens() const { return presence_penalty != 0 || frequency_penalty != 0 || repetition_penalty != 1; }

  /// Throws Error{bad_request} that names the field and its range.
  void validate() const {
    require(std::isfinite(temperature) && temperature >= 0, "temperature", temperature, "finite and at least 0");
    // Written so that NaN fails too.
    require(top_p > 0 && top_p <= 1, "top_p", top_p, "above 0 and at most 1");
    require(order == SamplerOrder::rwkv || order == SamplerOrder::llama, "order", float(order), "rwkv or llama");
    require_range("min_p", min_p, 0, 1);
    require(typical_p > 0 && typical_p <= 1, "typical_p", typical_p, "above 0 and at most 1");
    require_range("presence_penalty", presence_penalty, -100, 100);
    require_range("frequency_penalty", frequency_penalty, -100, 100);
    require_range("repetition_penalty", repetition_penalty, 0.01f, 100);
    require_range("penalty_decay", penalty_decay, 0, 1);
    require(logit_bias.size() <= kLogitBiasMax, "the size of logit_bias", float(logit_bias.size()),
            "at most " + std::to_string(kLogitBiasMax));
    for (const auto& [id, bias] : logit_bias) require_range("logit_bias of id " + std::to_string(id), bias, -100, 100);
    require_range("xtc_probability", xtc_probability, 0, 1);
    require(xtc_threshold > 0 && xtc_threshold <= 1, "xtc_threshold", xtc_threshold, "above 0 and at most 1");
    require_range("mirostat_tau", mirostat_tau, 0, 100);
    require_range("mirostat_eta", mirostat_eta, 0, 1);
    require_range("dry_multiplier", dry_multiplier, 0, 100);
    require_range("dry_base", dry_base, 1, 100);
    require(dry_allowed_length >= 1, "dry_allowed_length", float(dry_allowed_length), "at least 1");
    require_range("dry_range", float(dry_range), 1, float(kDryRangeMax));
  }

 private:
  static void require(bool holds, const std::string& field, float value, const std::string& range) {
    if (!holds) throw Error(ErrorCode::bad_request, field + " is " + number(value) + ", must be " + range);
  }
  static void require_range(const std::string& field, float value, float min, float max) {
    require(value >= min && value <= max, field, value, number(min) + " to " + number(max));
  }
  static std::string number(float value) {
    char text[32];
    return {text, std::to_chars(text, text + sizeof text, value).ptr};  // with a point, whatever the locale
  }
};

}  // namespace ravenwing
#pragma GCC visibility pop
