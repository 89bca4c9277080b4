// Chunks of sequences as test data, for the kernels that keep a state.
#pragma once

#include <string>
#include <vector>

#include "kernels/harness.hpp"

namespace ravenwing::test {

struct SequenceChunk {
  uint32_t slot = 0, count = 0;
  bool frozen = false;
};

uint32_t token_count(const std::vector<SequenceChunk>& chunks);
/// Slots from 0 to the highest one.
uint32_t slot_count(const std::vector<SequenceChunk>& chunks);

/// Puts the chunks into the scene's step and freezes the slots that are to be.
void add_chunks(Scene& scene, const std::vector<SequenceChunk>& chunks);

/// Memory [n_planes, tokens_max, act_stride(n)], of which [n_planes, n_tokens, n] is in use.
struct Planes {
  uint32_t n_planes, tokens_max, n_tokens, n;

  /// What is in use; checks that the rest holds canaries.
  std::vector<float> take(std::span<const float> memory) const;
  /// Memory with `values` in use and NaN elsewhere.
  std::vector<float> spread(std::span<const float> values) const;
};

/// [n_planes, n_tokens, n] cut down to the tokens first .. first + count.
std::vector<float> tokens_of(std::span<const float> values, const Planes& planes, uint32_t first, uint32_t count);

/// Lengths on both sides of 256, where a length in eight bits would wrap.
inline constexpr uint32_t kLengths[] = {1, 2, 255, 256, 257, 512};

/// Ways to cut n tokens into chunks.
std::vector<std::vector<uint32_t>> splits_of(uint32_t n);

/// Bit for bit.
bool same(std::span<const float> a, std::span<const float> b);

}  // namespace ravenwing::test
