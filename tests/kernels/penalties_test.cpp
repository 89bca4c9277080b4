// tests/kernels/penalties_test.cpp: penalties, bias and counts against penalties_ref.
#include "kernels/penalties.hpp"

#include <limits>

#include "kernels/penalties_ref.hpp"
#include "kernels/values.hpp"

using namespace ravenwing;
using kernels::LogitAddition;

namespace {

constexpr uint32_t kTokensMax = 600;
constexpr uint32_t kSlotStep = 2;  // row i is that of slot 2 i
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Row {
  SamplerParams params;
  std::vector<float> logits, counts;
  std::vector<LogitAddition> additions{};
  bool sample = true, frozen = false;
};

Row random_row(std::mt19937& random, uint32_t n_vocab, const SamplerParams& params, uint32_t n_additions = 0) {
  Row row{params, test::random_values(random, n_vocab, 10), test::random_values(random, n_vocab, 3)};
  for (float& count : row.counts) count = count < 1 ? 0 : count;
  for (uint32_t i = 0; i < std::min(n_additions, n_vocab); ++i)
    row.additions.push_back({(i * 7919 + 13) % n_vocab, float(i % 9) - 4});
  return row;
}

/// Within a few roundings of f32; infinities and NaN as they are.
void check_near(const std::vector<float>& got, const std::vector<float>& expected, float scale) {
  REQUIRE(got.size() == expected.size());
  size_t n_far = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const bool same = std::isfinite(expected[i]) ? std::abs(got[i] - expected[i]) <= 1e-6f * scale
                                                 : std::memcmp(&got[i], &expected[i], 4) == 0;
    n_far += !same;
  }
  CHECK(n_far == 0);
}

void check_against_oracle(test::Gpu& gpu, std::vector<Row> rows, std::optional<uint32_t> workgroups = {}) {
  const uint32_t n_vocab = uint32_t(rows[0].logits.size()), n_slots = uint32_t(rows.size()) * kSlotStep;
  test::Scene scene(gpu, kTokensMax);
  scene.control.resize(n_slots);
  scene.step().add_chunk({0, std::vector<uint32_t>(rows.size())});
  std::vector<float> logits, counts(size_t(n_slots) * n_vocab, 1);
  std::vector<LogitAddition> additions(n_slots * kernels::kAdditionsMax, LogitAddition{0, 1e5f});
  for (uint32_t i = 0; i < rows.size(); ++i) {
    const uint32_t slot = kSlotStep * i;
    scene.step().add_output({i, slot, rows[i].sample});
    scene.control[slot] = kernels::control_block(rows[i].params);
    scene.control[slot].frozen = rows[i].frozen ? 2 : 0;
    scene.control[slot].n_additions = uint32_t(rows[i].additions.size());
    logits.insert(logits.end(), rows[i].logits.begin(), rows[i].logits.end());
    std::copy(rows[i].counts.begin(), rows[i].counts.end(), counts.begin() + ptrdiff_t(slot) * n_vocab);
    std::copy(rows[i].additions.begin(), rows[i].additions.end(), additions.begin() + slot * kernels::kAdditionsMax);
  }
  const test::Region logits_region = scene.in_place(logits), counts_region = scene.input(counts);
  const test::Region additions_region = scene.input(std::as_bytes(std::span(additions)));
  scene.run([&](const kernels::Context& context) {
    kernels::penalties(context, {n_vocab, scene.view(logits_region), scene.view(counts_region),
                                 scene.view(additions_region), workgroups});
  });
  std::vector<float> expected_logits;
  for (uint32_t i = 0; i < rows.size(); ++i) {
    Row& row = rows[i];
    if (row.sample && !row.frozen) kernels::penalties_ref(row.logits, row.counts, row.params, row.additions);
    expected_logits.insert(expected_logits.end(), row.logits.begin(), row.logits.end());
  }
  check_near(scene.floats(logits_region), expected_logits, 40);
}

}  // namespace

TEST_SUITE_BEGIN("sample");

TEST_CASE("penalties and bias are the oracle's, row by row") {
  const SamplerParams kinds[] = {{.presence_penalty = 0.4f},
                                 {.frequency_penalty = 0.3f, .penalty_decay = 0.9f},
                                 {.repetition_penalty = 1.3f, .penalty_decay = 1},
                                 {.presence_penalty = -2, .frequency_penalty = 1, .repetition_penalty = 0.5f},
                                 {},
                                 {.presence_penalty = 1, .penalty_decay = 0}};
  for (const auto& gpu : test::gpus()) {
    for (const uint32_t n_vocab : {1u, 255u, 257u, 65536u}) {
      INFO(gpu->name(), ", ", n_vocab);
      std::mt19937 random(n_vocab);
      std::vector<Row> rows;
      for (uint32_t i = 0; i < std::size(kinds); ++i) {
        rows.push_back(random_row(random, n_vocab, kinds[i]));
        rows.push_back(random_row(random, n_vocab, kinds[i], i == 0 ? kernels::kAdditionsMax : 3 * i));
      }
      check_against_oracle(*gpu, rows);
      // By two workgroups, of which the second may have nothing to do; tiers do not differ.
      if (gpu->half()) check_against_oracle(*gpu, rows, 2);
    }
  }
}

TEST_CASE("rows that no token is drawn from stay, and so does what is not finite") {
  for (const auto& gpu : test::gpus()) {
    std::mt19937 random(1);
    std::vector<Row> rows;
    for (uint32_t i = 0; i < 3; ++i)
      rows.push_back(random_row(random, 300, {.presence_penalty = 1, .repetition_penalty = 2}, 20));
    rows[0].sample = false;
    rows[1].frozen = true;
    const float bad[] = {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()};
    for (uint32_t i = 0; i < 300; i += 7) {
      rows[2].logits[i] = bad[i % 3];
      rows[2].counts[i] = float(i % 2);
    }
    check_against_oracle(*gpu, rows);
  }
}

TEST_SUITE_END();
