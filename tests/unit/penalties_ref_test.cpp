// tests/unit/penalties_ref_test.cpp: the oracle of penalties against hand-computed numbers.
#include "kernels/penalties_ref.hpp"

#include <doctest/doctest.h>

#include <limits>

using namespace ravenwing;
using namespace ravenwing::kernels;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> penalised(const SamplerParams& params, std::vector<float> counts,
                             const std::vector<LogitAddition>& additions = {}) {
  std::vector<float> logits = {3, -2, 0, 5};
  penalties_ref(logits, counts, params, additions);
  return logits;
}

}  // namespace

TEST_CASE("presence and frequency take from what occurred, repetition divides or multiplies") {
  const std::vector<float> counts = {2, 1, 0.5f, 0};
  CHECK(penalised({}, counts) == std::vector<float>{3, -2, 0, 5});
  CHECK(penalised({.presence_penalty = 0.5f}, counts) == std::vector<float>{2.5f, -2.5f, -0.5f, 5});
  CHECK(penalised({.frequency_penalty = 0.25f}, counts) == std::vector<float>{2.5f, -2.25f, -0.125f, 5});
  CHECK(penalised({.repetition_penalty = 2}, counts) == std::vector<float>{1.5f, -4, 0, 5});
  CHECK(penalised({.presence_penalty = 1, .frequency_penalty = 1, .repetition_penalty = 2}, counts) ==
        std::vector<float>{-1.5f, -6, -1.5f, 5});
}

TEST_CASE("bias comes after the penalties; infinite logits stay") {
  const std::vector<LogitAddition> additions = {{3, -1}, {0, 10}};
  CHECK(penalised({}, {0, 0, 0, 0}, additions) == std::vector<float>{13, -2, 0, 4});
  CHECK(penalised({.repetition_penalty = 2}, {1, 0, 0, 0}, additions) == std::vector<float>{11.5f, -2, 0, 4});
  std::vector<float> logits = {-kInfinity, kInfinity}, counts = {1, 1};
  penalties_ref(logits, counts, {.presence_penalty = 1}, std::vector<LogitAddition>{{0, 5}, {1, 5}});
  CHECK(logits == std::vector<float>{-kInfinity, kInfinity});
}

TEST_CASE("counts decay with every draw and grow with the token drawn, but for those never counted") {
  const SamplerParams params = {.presence_penalty = 1, .penalty_decay = 0.5f};
  std::vector<float> logits(3), counts = {4, 0, 1};
  const auto draw = [&](uint32_t id) {
    penalties_ref(logits, counts, params, {});
    count_token_ref(counts, params, id, std::vector<uint32_t>{2});
  };
  draw(1);
  CHECK(counts == std::vector<float>{2, 1, 0.5f});
  draw(2);
  CHECK(counts == std::vector<float>{1, 0.5f, 0.25f});
  draw(1);
  CHECK(counts == std::vector<float>{0.5f, 1.25f, 0.125f});
  const std::vector<float> before = counts;
  penalties_ref(logits, counts, {}, {});
  count_token_ref(counts, {}, 0, {});
  CHECK(counts == before);
}
