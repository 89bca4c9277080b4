// tests/unit/sample_ref_test.cpp: the sampling oracle against hand-computed distributions and counted draws.
#include "kernels/sample_ref.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>

using namespace ravenwing;
using namespace ravenwing::kernels;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Logits whose softmax is `probabilities`, up to a shift that must not matter.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double probability : probabilities) logits.push_back(float(std::log(probability)) + 3.0f);
  return logits;
}

void check_distribution(const std::vector<float>& logits, const SamplerParams& params,
                        const std::vector<double>& expected) {
  const std::vector<double> distribution = sample_distribution_ref(logits, params);
  REQUIRE(distribution.size() == expected.size());
  for (size_t id = 0; id < expected.size(); ++id) {
    INFO(id);
    CHECK(distribution[id] == doctest::Approx(expected[id]).epsilon(1e-6));
  }
}

/// Whether counts are as unlikely under `probabilities` as 6 sigma: chi-square has mean n - 1 and variance 2 (n - 1).
bool far_from(const std::vector<double>& probabilities, const std::vector<uint32_t>& counts, uint32_t n_draws) {
  double chi_square = 0;
  int n_possible = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (probabilities[i] == 0) {
      if (counts[i] != 0) return true;
      continue;
    }
    const double expected = probabilities[i] * n_draws;
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
    ++n_possible;
  }
  const double freedom = n_possible - 1;
  return chi_square > freedom + 6 * std::sqrt(2 * freedom);
}

std::string error_of(const SamplerParams& params) {
  try {
    params.validate();
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::bad_request);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("Threefry gives the known answers") {
  using Words = std::array<uint32_t, 2>;
  CHECK(threefry_2x32_20({0, 0}, {0, 0}) == Words{0x6b200159, 0x99ba4efe});
  CHECK(threefry_2x32_20({0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) == Words{0x1cb996fc, 0xbb002be7});
  CHECK(threefry_2x32_20({0x13198a2e, 0x03707344}, {0x243f6a88, 0x85a308d3}) == Words{0xc4923a9c, 0x483df7a0});
}

TEST_CASE("the uniform number is the upper 24 bits of the first word") {
  CHECK(uniform_number(0, 0, 0) == float(0x6b2001) / float(1 << 24));
  CHECK(uniform_number(0x0370734413198a2e, 0x243f6a88, 0x85a308d3) == float(0xc4923a) / float(1 << 24));
}

TEST_CASE("parameters out of range are refused by name") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(error_of({}) == "");
  CHECK(error_of({.temperature = 0, .top_k = 0xffffffff, .top_p = 1}) == "");
  CHECK(error_of({.top_p = std::numeric_limits<float>::denorm_min()}) == "");
  for (const float bad : {-0.1f, -kInfinity, kInfinity, nan}) {
    CHECK(error_of({.temperature = bad}).find("temperature") == 0);
  }
  for (const float bad : {0.0f, -0.5f, 1.001f, kInfinity, nan}) CHECK(error_of({.top_p = bad}).find("top_p") == 0);
  const std::vector<float> logits = {1};
  CHECK_THROWS_AS(sample_ref(logits, {.top_p = 2}, 0, 0), Error);
}

TEST_CASE("top-p cuts the untempered probabilities, the token that reaches it stays") {
  const std::vector<float> logits = logits_of({0.05, 0.5, 0.15, 0.3});
  check_distribution(logits, {.top_p = 1}, {0.05, 0.5, 0.15, 0.3});
  check_distribution(logits, {.top_p = 0.75f}, {0, 0.5 / 0.8, 0, 0.3 / 0.8});
  check_distribution(logits, {.top_p = 0.49f}, {0, 1, 0, 0});
  check_distribution(logits, {.top_p = 0.51f}, {0, 0.5 / 0.8, 0, 0.3 / 0.8});
  check_distribution(logits, {.top_p = 0.96f}, {0.05, 0.5, 0.15, 0.3});
  // Tempered first, 0.75 would keep three tokens: their powers are 0.12, 0.38, 0.21, 0.29.
  const double a = std::sqrt(0.5), b = std::sqrt(0.3);
  check_distribution(logits, {.temperature = 2, .top_p = 0.75f}, {0, a / (a + b), 0, b / (a + b)});
}

TEST_CASE("top-k keeps the k most probable and what equals the last of them") {
  const std::vector<float> logits = logits_of({0.05, 0.5, 0.15, 0.3});
  check_distribution(logits, {.top_k = 1, .top_p = 1}, {0, 1, 0, 0});
  check_distribution(logits, {.top_k = 3, .top_p = 1}, {0, 0.5 / 0.95, 0.15 / 0.95, 0.3 / 0.95});
  check_distribution(logits, {.top_k = 4, .top_p = 1}, {0.05, 0.5, 0.15, 0.3});
  check_distribution(logits, {.top_k = 0xffffffff, .top_p = 1}, {0.05, 0.5, 0.15, 0.3});
  // The stricter of both cuts decides.
  check_distribution(logits, {.top_k = 1, .top_p = 0.75f}, {0, 1, 0, 0});
  check_distribution(logits, {.top_k = 3, .top_p = 0.75f}, {0, 0.5 / 0.8, 0, 0.3 / 0.8});
  const std::vector<float> ties = logits_of({0.2, 0.4, 0.2, 0.2});
  check_distribution(ties, {.top_k = 2, .top_p = 1}, {0.2, 0.4, 0.2, 0.2});
  check_distribution(ties, {.top_k = 0, .top_p = 0.5f}, {0.2, 0.4, 0.2, 0.2});
}

TEST_CASE("temperature sharpens and flattens") {
  const std::vector<float> logits = logits_of({0.2, 0.8});
  check_distribution(logits, {.temperature = 0.5f, .top_p = 1}, {0.04 / 0.68, 0.64 / 0.68});
  check_distribution(logits, {.temperature = 1e30f, .top_p = 1}, {0.5, 0.5});
  check_distribution(logits, {.temperature = 1e-30f, .top_p = 1}, {0, 1});
}

TEST_CASE("greedy takes the most probable token, the lowest id of equal ones") {
  const SamplerParams greedy = {.temperature = 0, .top_k = 3, .top_p = 0.9f};
  for (uint32_t position = 0; position < 20; ++position) {
    CHECK(sample_ref(std::vector<float>{1, 7, 7, -2}, greedy, 0, position) == 1);
    CHECK(sample_ref(std::vector<float>{-kInfinity, -5}, greedy, 1, position) == 1);
  }
}

TEST_CASE("edges") {
  check_distribution({-3}, {}, {1});
  CHECK(sample_ref(std::vector<float>{-3}, {}, 0, 0) == 0);
  // All equal: every token equals the cut, wherever it lies.
  check_distribution({2, 2, 2, 2}, {.top_k = 1, .top_p = 0.1f}, {0.25, 0.25, 0.25, 0.25});
  // Tokens at -inf are never chosen, not even by a cut that lets all pass.
  check_distribution({-kInfinity, 0, -kInfinity, 0}, {.temperature = 1e30f, .top_k = 3, .top_p = 1}, {0, 0.5, 0, 0.5});
  check_distribution({-kInfinity, 0, -1}, {.top_p = 1e-30f}, {0, 1, 0});
  // Nor by the uniform number 0, which this position has.
  REQUIRE(uniform_number(0, 0, 5297128) == 0);
  CHECK(sample_ref(std::vector<float>{-kInfinity, 0, 0}, {.top_p = 1}, 0, 5297128) == 1);
  // Large logits neither overflow nor lose the small ones' order.
  check_distribution({3e38f, -3e38f}, {.top_p = 1}, {1, 0});
  const std::vector<float> far = {-kInfinity, 0, -kInfinity};
  for (uint32_t position = 0; position < 1000; ++position) CHECK(sample_ref(far, {.top_p = 1}, 0, position) == 1);
}

TEST_CASE("draws follow the distribution, and so do pairs of neighbouring positions") {
  std::mt19937 random(9);
  std::vector<float> logits(12);
  for (float& logit : logits) logit = float(random() % 4000) / 1000;
  for (const SamplerParams params : {SamplerParams{.seed = 1}, SamplerParams{.temperature = 1.5f, .top_p = 1},
                                     SamplerParams{.temperature = 0.7f, .top_k = 5, .top_p = 1, .seed = 1ull << 40}}) {
    constexpr uint32_t kDraws = 20000;
    const std::vector<double> distribution = sample_distribution_ref(logits, params);
    const size_t n = logits.size();
    std::vector<uint32_t> counts(n), pair_counts(n * n);
    std::vector<double> pair_distribution(n * n);
    for (size_t i = 0; i < n * n; ++i) pair_distribution[i] = distribution[i / n] * distribution[i % n];
    for (uint32_t position = 0; position < kDraws; position += 2) {
      const uint32_t first = sample_ref(logits, params, 3, position);
      const uint32_t second = sample_ref(logits, params, 3, position + 1);
      ++counts[first];
      ++counts[second];
      ++pair_counts[first * n + second];
    }
    CHECK(!far_from(distribution, counts, kDraws));
    CHECK(!far_from(pair_distribution, pair_counts, kDraws / 2));
  }
}

TEST_CASE("seed, sequence and position each change the draw, and nothing else does") {
  const std::vector<float> logits(1000, 0.0f);
  const uint32_t token = sample_ref(logits, {.top_p = 1, .seed = 5}, 6, 7);
  CHECK(sample_ref(logits, {.top_p = 1, .seed = 5}, 6, 7) == token);
  CHECK(sample_ref(logits, {.top_p = 1, .seed = 6}, 6, 7) != token);
  CHECK(sample_ref(logits, {.top_p = 1, .seed = 5 | 1ull << 32}, 6, 7) != token);
  CHECK(sample_ref(logits, {.top_p = 1, .seed = 5}, 7, 7) != token);
  CHECK(sample_ref(logits, {.top_p = 1, .seed = 5}, 6, 8) != token);
  // A thousand equal tokens: the draw is the uniform number itself.
  CHECK(token == uint32_t(double(uniform_number(5, 6, 7)) * 1000));
}
