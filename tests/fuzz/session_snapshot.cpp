// tests/fuzz/session_snapshot.cpp
#include "fuzz/session_snapshot.hpp"

#include <numeric>

namespace ravenwing::fuzz {

SessionSnapshot session_snapshot(bool with_everything) {
  const size_t n_shift = size_t(kSessionConfig.n_layer) * kSessionConfig.n_embd;
  SessionSnapshot snapshot;
  snapshot.state.n_layer = kSessionConfig.n_layer;
  snapshot.state.n_head = kSessionConfig.n_head;
  snapshot.state.head_size = kSessionConfig.head_size;
  const auto fill = [](std::vector<float>& values, size_t n, float first) {
    values.resize(n);
    std::iota(values.begin(), values.end(), first);
  };
  fill(snapshot.state.time_shift, n_shift, -1.5f);
  fill(snapshot.state.wkv, n_shift * kSessionConfig.head_size, 1e-3f);
  fill(snapshot.state.channel_shift, n_shift, 7);
  snapshot.n_tokens = 12;
  if (!with_everything) return snapshot;
  snapshot.pending = kSessionConfig.n_vocab - 1;
  snapshot.undecoded = "\xe2\x82";
  fill(snapshot.counts, kSessionConfig.n_vocab, 0);
  return snapshot;
}

}  // namespace ravenwing::fuzz
