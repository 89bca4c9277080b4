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

/// The numbers in [0, 1) of a position: multiples of 2^-24, exact in f32.
struct RandomNumbers {
  float token = 0;  // decides which token
  float xtc = 1;    // XTC acts where it is below xtc_probability
};
RandomNumbers random_numbers(uint64_t seed, uint32_t sequence, uint32_t position);

/// What a draw depends on besides logits and parameters.
struct SampleState {
  float xtc_number = 1;   // RandomNumbers::xtc; 1: XTC does not act
  float mirostat_mu = 0;  // 0: not begun
};

/// The probability of each token after the filters and the temperature; sums to 1. Penalties and bias are applied
/// before (penalties_ref). With the candidates, all tokens at first, sorted by descending p = softmax of their logits:
///   top_k      cuts at the k-th token
///   top_p      cuts at the first token at which the sum of p reaches top_p
///   min_p      cuts below min_p times the first p
///   typical_p  sorts by |-ln p - entropy| instead and cuts at the first token at which the sum of p reaches typical_p
///   XTC        takes away all tokens with p >= threshold, but for the last of them
///   mirostat   cuts where -log2 softmax(logits / temperature) exceeds mu, never before the first token
/// Tokens beyond a cut get 0; tokens equal to it stay, so ties may leave more than k. Logits may be -inf (never
/// chosen); the largest must be finite and none may be NaN. Throws Error{bad_request} as params.validate().
std::vector<double> sample_distribution_ref(std::span<const float> logits, const SamplerParams& params,
                                            const SampleState& state = {});

/// The token: the first id at which the cumulative distribution, in the order of ids, exceeds the random number.
uint32_t sample_ref(std::span<const float> logits, const SamplerParams& params, uint32_t sequence, uint32_t position,
                    float mirostat_mu = 0);

/// Mirostat's mu after `id` was drawn: mu - eta * (-log2 p(id) - tau), p as sample_distribution_ref gives it.
double mirostat_mu_ref(std::span<const float> logits, const SamplerParams& params, float mirostat_mu, uint32_t id);

}  // namespace ravenwing::kernels
