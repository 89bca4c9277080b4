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
                        const std::vector<double>& expected, const SampleState& state = {}) {
  const std::vector<double> distribution = sample_distribution_ref(logits, params, state);
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

TEST_CASE("the random numbers are the upper 24 bits of the two words") {
  CHECK(random_numbers(0, 0, 0).token == float(0x6b2001) / float(1 << 24));
  CHECK(random_numbers(0, 0, 0).xtc == float(0x99ba4e) / float(1 << 24));
  CHECK(random_numbers(0x0370734413198a2e, 0x243f6a88, 0x85a308d3).token == float(0xc4923a) / float(1 << 24));
  CHECK(random_numbers(0x0370734413198a2e, 0x243f6a88, 0x85a308d3).xtc == float(0x483df7) / float(1 << 24));
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
  const auto refused = [&](const SamplerParams& params, const std::string& field, const std::string& range) {
    const std::string error = error_of(params);
    INFO(error);
    CHECK(error.find(field + " is ") == 0);
    CHECK(error.find(", must be " + range) != error.npos);
  };
  for (const float bad : {-0.01f, 1.01f, nan}) {
    refused({.min_p = bad}, "min_p", "0 to 1");
    refused({.penalty_decay = bad}, "penalty_decay", "0 to 1");
    refused({.xtc_probability = bad}, "xtc_probability", "0 to 1");
    refused({.mirostat_eta = bad}, "mirostat_eta", "0 to 1");
  }
  for (const float bad : {0.0f, 1.01f, nan}) {
    refused({.typical_p = bad}, "typical_p", "above 0 and at most 1");
    refused({.xtc_threshold = bad}, "xtc_threshold", "above 0 and at most 1");
  }
  for (const float bad : {-100.5f, 101.0f, kInfinity, nan}) {
    refused({.presence_penalty = bad}, "presence_penalty", "-100 to 100");
    refused({.frequency_penalty = bad}, "frequency_penalty", "-100 to 100");
    refused({.repetition_penalty = bad}, "repetition_penalty", "0.01 to 100");
    refused({.logit_bias = {{7, bad}}}, "logit_bias of id 7", "-100 to 100");
    refused({.mirostat_tau = bad}, "mirostat_tau", "0 to 100");
    refused({.dry_multiplier = bad}, "dry_multiplier", "0 to 100");
    refused({.dry_base = bad}, "dry_base", "1 to 100");
  }
  refused({.dry_allowed_length = 0}, "dry_allowed_length", "at least 1");
  refused({.dry_range = 0}, "dry_range", "1 to 65536");
  refused({.dry_range = 65537}, "dry_range", "1 to 65536");
  refused({.order = SamplerOrder(2)}, "order", "rwkv or llama");
  SamplerParams biased;
  for (uint32_t id = 0; id < 1024; ++id) biased.logit_bias[id] = 1;
  CHECK(error_of(biased) == "");
  biased.logit_bias[1024] = 1;
  refused(biased, "the size of logit_bias", "at most 1024");
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

TEST_CASE("min-p keeps what is at least its share of the first") {
  const std::vector<float> logits = logits_of({0.05, 0.5, 0.15, 0.3});
  check_distribution(logits, {.top_p = 1, .min_p = 0.09f}, {0.05, 0.5, 0.15, 0.3});
  check_distribution(logits, {.top_p = 1, .min_p = 0.29f}, {0, 0.5 / 0.95, 0.15 / 0.95, 0.3 / 0.95});
  check_distribution(logits, {.top_p = 1, .min_p = 0.31f}, {0, 0.5 / 0.8, 0, 0.3 / 0.8});
  check_distribution(logits, {.top_p = 1, .min_p = 1}, {0, 1, 0, 0});
}

TEST_CASE("typical-p keeps the tokens whose surprise is nearest to the entropy") {
  // Entropy 1.142: the distances are 1.853 (0.05), 0.449 (0.5), 0.755 (0.15), 0.062 (0.3).
  const std::vector<float> logits = logits_of({0.05, 0.5, 0.15, 0.3});
  check_distribution(logits, {.top_p = 1, .typical_p = 0.1f}, {0, 0, 0, 1});
  check_distribution(logits, {.top_p = 1, .typical_p = 0.31f}, {0, 0.5 / 0.8, 0, 0.3 / 0.8});
  check_distribution(logits, {.top_p = 1, .typical_p = 0.81f}, {0, 0.5 / 0.95, 0.15 / 0.95, 0.3 / 0.95});
  check_distribution(logits, {.top_p = 1, .typical_p = 0.96f}, {0.05, 0.5, 0.15, 0.3});
}

TEST_CASE("the order of the filters tells") {
  const std::vector<float> logits = logits_of({0.05, 0.5, 0.15, 0.3});
  // Of the whole, 0.6 is reached at the second token; of the three that top-k leaves, 0.526, too; 0.52 not.
  check_distribution(logits, {.top_k = 3, .top_p = 0.52f}, {0, 0.5 / 0.8, 0, 0.3 / 0.8});
  check_distribution(logits, {.top_k = 3, .top_p = 0.52f, .order = SamplerOrder::llama}, {0, 1, 0, 0});
  // Typical-p first would leave 0.3 alone; after top-p = 0.4, which leaves 0.5, there is nothing else to choose.
  check_distribution(logits, {.top_p = 0.4f, .typical_p = 0.1f}, {0, 1, 0, 0});
  check_distribution(logits, {.top_p = 0.4f, .order = SamplerOrder::llama, .typical_p = 0.1f}, {0, 0, 0, 1});
}

TEST_CASE("XTC takes away the most probable tokens but for the last above its threshold") {
  const std::vector<float> logits = logits_of({0.05, 0.5, 0.15, 0.3});
  const SamplerParams params = {.top_p = 1, .xtc_probability = 0.5f, .xtc_threshold = 0.1f};
  check_distribution(logits, params, {0.05, 0.5, 0.15, 0.3}, {.xtc_number = 0.5f});
  check_distribution(logits, params, {0.25, 0, 0.75, 0}, {.xtc_number = 0.49f});
  const auto at = [](float threshold) {
    return SamplerParams{.top_p = 1, .xtc_probability = 1, .xtc_threshold = threshold};
  };
  check_distribution(logits, at(0.4f), {0.05, 0.5, 0.15, 0.3}, {.xtc_number = 0});
  check_distribution(logits, at(0.6f), {0.05, 0.5, 0.15, 0.3}, {.xtc_number = 0});
  check_distribution(logits, at(0.01f), {1, 0, 0, 0}, {.xtc_number = 0});
  // The threshold is of what the other filters left: 0.15 of 0.95 is above 0.155.
  check_distribution(logits, {.top_k = 3, .top_p = 1, .xtc_probability = 1, .xtc_threshold = 0.155f}, {0, 0, 1, 0},
                     {.xtc_number = 0});
  // Its random number is none that decides tokens: over many positions it acts as often as it should.
  uint32_t n_acted = 0;
  for (uint32_t position = 0; position < 4000; ++position) {
    const uint32_t token =
        sample_ref(logits, {.top_k = 3, .top_p = 1, .xtc_probability = 0.3f, .xtc_threshold = 0.155f}, 0, position);
    n_acted += token == 2;
  }
  const double probability = 0.3 + 0.7 * 0.15 / 0.95;
  CHECK(std::abs(n_acted - 4000 * probability) < 6 * std::sqrt(4000 * probability * (1 - probability)));
}

TEST_CASE("mirostat cuts at mu bits of surprise and steers them towards tau") {
  const std::vector<float> logits = logits_of({0.0625, 0.5, 0.125, 0.3125});
  SamplerParams params = {.mirostat_tau = 1.2f, .mirostat_eta = 0.5f};        // top_p of 0.85 does not count
  check_distribution(logits, params, {0, 0.5 / 0.8125, 0, 0.3125 / 0.8125});  // 2.4 bits
  check_distribution(logits, params, {0.0625, 0.5, 0.125, 0.3125}, {.mirostat_mu = 4.01f});
  check_distribution(logits, params, {0, 0.5 / 0.9375, 0.125 / 0.9375, 0.3125 / 0.9375}, {.mirostat_mu = 3.01f});
  check_distribution(logits, params, {0, 1, 0, 0}, {.mirostat_mu = -3});
  CHECK(mirostat_mu_ref(logits, params, 3.01f, 2) ==
        doctest::Approx(3.01 - 0.5 * (-std::log2(0.125 / 0.9375) - 1.2)).epsilon(1e-6));
  CHECK(mirostat_mu_ref(logits, params, 0, 1) ==
        doctest::Approx(2.4 - 0.5 * (-std::log2(0.5 / 0.8125) - 1.2)).epsilon(1e-6));
  // The surprise is that of the tempered probabilities: 0.25 and more together with their squares.
  params.temperature = 0.5f;
  const double sum = 0.0625 * 0.0625 + 0.25 + 0.125 * 0.125 + 0.3125 * 0.3125;
  check_distribution(logits, params,
                     {0, 0.25 / (sum - 0.0625 * 0.0625 - 0.125 * 0.125), 0,
                      0.3125 * 0.3125 / (sum - 0.0625 * 0.0625 - 0.125 * 0.125)});
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
  REQUIRE(random_numbers(0, 0, 5297128).token == 0);
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
  for (const SamplerParams& params : {SamplerParams{.seed = 1}, SamplerParams{.temperature = 1.5f, .top_p = 1},
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
  CHECK(token == uint32_t(double(random_numbers(5, 6, 7).token) * 1000));
}
