// The CPU oracle of sampling, and the generator that it shares with the shader.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ravenwing/sampler_params.hpp"

namespace ravenwing::kernels {

/// Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): the output is a
/// function of key and counter alone, so neither batching nor the order of draws can shift it.
constexpr std::array<uint32_t, 2> threefry_2x32_20(std::array<uint32_t, 2> key, std::array<uint32_t, 2> counter) {
  constexpr uint32_t kParity = 0x1bd11bda;
  constexpr int kRotations[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  const uint32_t keys[3] = {key[0], key[1], kParity ^ key[0] ^ key[1]};
  uint32_t x0 = counter[0] + keys[0];
  uint32_t x1 = counter[1] + keys[1];
  for (uint32_t round = 0; round < 20; ++round) {
    x0 += x1;
    x1 = std::rotl(x1, kRotations[round % 8]) ^ x0;
    if (round % 4 == 3) {
      const uint32_t injection = round / 4 + 1;
      x0 += keys[injection % 3];
      x1 += keys[(injection + 1) % 3] + injection;
    }
  }
  return {x0, x1};
}

/// The number in [0, 1) that decides the token of a position: a multiple of 2^-24, exact in f32.
float uniform_number(uint64_t seed, uint32_t sequence, uint32_t position);

/// The probability of each token after top-p, top-k and temperature; sums to 1. With logits sorted in descending order:
///   top-p: the cut is the first token at which the cumulative sum of softmax(logits) reaches top_p
///   top-k: the cut is the k-th token
/// Tokens below either cut get 0; tokens equal to it stay, so ties may leave more than k. Logits may be -inf (never
/// chosen); the largest must be finite and none may be NaN. Throws Error{bad_request} as params.validate().
std::vector<double> sample_distribution_ref(std::span<const float> logits, const SamplerParams& params);

/// The token: the first id at which the cumulative distribution, in the order of ids, exceeds the uniform number.
uint32_t sample_ref(std::span<const float> logits, const SamplerParams& params, uint32_t sequence, uint32_t position);

}  // namespace ravenwing::kernels
