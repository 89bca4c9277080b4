// What a session can be made again from when the GPU has lost it.
#pragma once

#include <memory>
#include <vector>

#include "model/runner.hpp"
#include "ravenwing/engine.hpp"

namespace ravenwing {

/// A state is a function of what was fed, and what sampling remembers one of what was drawn.
struct Past {
  /// A token that penalties saw: all counts decayed, then its own grew by 1. kNoToken: none grew.
  struct Drawn {
    uint32_t id = 0;
    float decay = 1;
  };
  /// More tokens than this are not fed again: a copy of the state takes their place at the next call.
  static constexpr size_t kTokensMax = 1 << 16;

  std::shared_ptr<const SessionSnapshot> base;  // null: the empty text. Forks share it.
  std::vector<uint32_t> tokens;                 // fed since
  std::vector<Drawn> drawn;                     // since
  float mirostat_mu = 0;

  /// Forgets tokens until the text has n_tokens in all.
  void cut(uint64_t n_tokens) { tokens.resize(n_tokens - (base ? base->n_tokens : 0)); }
  /// Of the first `n_drawn`: [n_vocab], or empty where nothing was counted.
  std::vector<float> counts(size_t n_drawn, size_t n_vocab) const;
};

}  // namespace ravenwing
