// How the next token is chosen from the logits.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include "ravenwing/error.hpp"

namespace ravenwing {

/// RWKV's order of things: p = softmax(logits), untempered; top-p cuts p, then top-k cuts what is left; the token is
/// drawn with weights p^(1 / temperature). The draw depends on the seed, the sequence and the position only.
struct SamplerParams {
  float temperature = 1.0f;  // finite, >= 0; 0: always the most probable token (the lowest id of equal ones)
  uint32_t top_k = 0;        // 0: off
  float top_p = 0.85f;       // above 0, at most 1; 1: off
  uint64_t seed = 0;

  /// Throws Error{bad_request} that names the field and its range.
  void validate() const {
    if (!std::isfinite(temperature) || temperature < 0) {
      throw Error(ErrorCode::bad_request,
                  "temperature is " + std::to_string(temperature) + ", must be finite and at least 0");
    }
    // Written so that NaN fails too.
    if (!(top_p > 0 && top_p <= 1)) {
      throw Error(ErrorCode::bad_request, "top_p is " + std::to_string(top_p) + ", must be above 0 and at most 1");
    }
  }
};

}  // namespace ravenwing
