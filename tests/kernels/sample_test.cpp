// tests/kernels/sample_test.cpp: choosing tokens against sample_ref.
#include "kernels/sample.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "kernels/penalties_ref.hpp"
#include "kernels/sample_ref.hpp"
#include "kernels/values.hpp"

using namespace ravenwing;
using kernels::ControlBlock;
using kernels::Frozen;

namespace {

constexpr uint32_t kTokensMax = 600;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
/// The shader sums in f32: where the uniform number lies this close to the end of a token's share, either neighbour is
/// right. 256 runs of up to 257 tokens, each addition within 6e-8 of the whole.
constexpr double kBoundary = 2e-5;

/// One row of logits and the slot that wants a token of it.
struct Row {
  std::vector<float> logits;
  ControlBlock control;
  std::vector<float> counts{};  // of the slot; empty: zeros
};

struct Outcome {
  uint32_t id;
  Frozen reason;
  ControlBlock control;         // of the slot, after
  std::vector<float> counts{};  // likewise
};

/// Samples every row in one step; row i is that of slot i * slot_step.
std::vector<Outcome> run(test::Gpu& gpu, const std::vector<Row>& rows, uint32_t slot_step = 1,
                         std::optional<kernels::SampleShape> shape = {}) {
  const uint32_t n_vocab = uint32_t(rows.at(0).logits.size()), n_rows = uint32_t(rows.size());
  test::Scene scene(gpu, kTokensMax);
  scene.control_written = true;
  const uint32_t n_slots = (n_rows - 1) * slot_step + 1;
  scene.control.resize(n_slots);
  const std::vector<uint32_t> ids(n_rows);
  scene.step().add_chunk({0, ids});
  std::vector<float> logits, all_counts(size_t(n_slots) * n_vocab);
  for (uint32_t i = 0; i < n_rows; ++i) {
    std::copy(rows[i].counts.begin(), rows[i].counts.end(), all_counts.begin() + ptrdiff_t(i * slot_step) * n_vocab);
    scene.step().add_output({i, i * slot_step, true});
    scene.control[i * slot_step] = rows[i].control;
    logits.insert(logits.end(), rows[i].logits.begin(), rows[i].logits.end());
  }
  const test::Region logits_region = scene.input(logits), sampled = scene.output(3 * n_rows);
  const test::Region counts = scene.in_place(all_counts);
  scene.run([&](const kernels::Context& context) {
    kernels::sample(context, {n_vocab, scene.view(logits_region), scene.view(counts), scene.view(sampled), shape});
  });
  std::vector<Outcome> outcomes;
  const std::vector<uint32_t> words = scene.words(sampled);
  const std::vector<float> counted = scene.floats(counts);
  for (uint32_t i = 0; i < n_rows; ++i) {
    const auto of_slot = counted.begin() + ptrdiff_t(i * slot_step) * n_vocab;
    outcomes.push_back({words[3 * i], Frozen(words[3 * i + 1]), scene.control_after(i * slot_step),
                        std::vector<float>(of_slot, of_slot + n_vocab)});
    CHECK(words[3 * i + 2] == std::bit_cast<uint32_t>(outcomes.back().control.mirostat_mu));
  }
  return outcomes;
}

ControlBlock control_of(const SamplerParams& params, uint32_t sequence = 0, uint32_t position = 0) {
  ControlBlock control = kernels::control_block(params);
  control.limit = 1000;
  control.sequence = sequence;
  control.position = position;
  return control;
}

SamplerParams params_of(const ControlBlock& control) {
  return {.temperature = control.temperature,
          .top_k = control.top_k,
          .top_p = control.top_p,
          .seed = control.seed[0] | uint64_t(control.seed[1]) << 32,
          .order = SamplerOrder(control.order),
          .min_p = control.min_p,
          .typical_p = control.typical_p,
          .xtc_probability = control.xtc_probability,
          .xtc_threshold = control.xtc_threshold,
          .mirostat_tau = control.mirostat_tau,
          .mirostat_eta = control.mirostat_eta};
}

/// Whether the distance from the uniform number to `id`'s share of the cumulative distribution is within kBoundary.
bool within_rounding(const std::vector<double>& distribution, uint32_t id, double uniform) {
  if (id >= distribution.size() || distribution[id] == 0) return false;
  double before = 0;
  for (uint32_t i = 0; i < id; ++i) before += distribution[i];
  return uniform >= before - kBoundary && uniform <= before + distribution[id] + kBoundary;
}

/// The same, where the sums that filters cut at may err too.
bool explained_by_rounding(const Row& row, uint32_t id) {
  const ControlBlock& control = row.control;
  SamplerParams params = params_of(control);
  const kernels::RandomNumbers numbers =
      kernels::random_numbers(params.seed, control.sequence, control.position + control.n_generated);
  for (const float factor : {1.0f, 1 - 1e-6f, 1 + 1e-6f}) {
    SamplerParams moved = params;
    moved.top_p = std::min(params.top_p * factor, 1.0f);
    moved.typical_p = std::min(params.typical_p * factor, 1.0f);
    const std::vector<double> distribution =
        kernels::sample_distribution_ref(row.logits, moved, {numbers.xtc, control.mirostat_mu});
    if (within_rounding(distribution, id, numbers.token)) return true;
  }
  return false;
}

/// Every id is the oracle's, or one that rounding explains; the latter are rare.
void check_against_oracle(test::Gpu& gpu, const std::vector<Row>& rows, size_t n_explained_max = 0,
                          std::optional<kernels::SampleShape> shape = {}) {
  size_t n_explained = 0;
  const std::vector<Outcome> outcomes = run(gpu, rows, 1, shape);
  for (size_t i = 0; i < rows.size(); ++i) {
    const ControlBlock& control = rows[i].control;
    const uint32_t position = control.position + control.n_generated;
    const SamplerParams params = params_of(control);
    const uint32_t expected =
        kernels::sample_ref(rows[i].logits, params, control.sequence, position, control.mirostat_mu);
    INFO("row ", i, ", temperature ", control.temperature, ", top_k ", control.top_k, ", top_p ", control.top_p,
         ", order ", control.order, ", min_p ", control.min_p, ", typical_p ", control.typical_p, ", xtc ",
         control.xtc_probability, ", mirostat ", control.mirostat_tau);
    CHECK(outcomes[i].control.next_token == outcomes[i].id);
    CHECK(outcomes[i].control.n_generated == control.n_generated + 1);
    if (outcomes[i].id == expected) continue;
    ++n_explained;
    CHECK_MESSAGE(explained_by_rounding(rows[i], outcomes[i].id), outcomes[i].id, " instead of ", expected);
  }
  CHECK(n_explained <= n_explained_max);
}

const uint32_t kVocabularies[] = {1, 7, 255, 257, 8192, 65536, 65537};

}  // namespace

TEST_SUITE_BEGIN("sample");

TEST_CASE("greedy takes the largest logit, the lowest id of equal ones") {
  for (const auto& gpu : test::gpus()) {
    for (const uint32_t n_vocab : kVocabularies) {
      INFO(gpu->name(), ", ", n_vocab);
      std::mt19937 random(n_vocab);
      std::vector<Row> rows;
      for (uint32_t i = 0; i < 8; ++i) {
        rows.push_back(
            {test::random_values(random, n_vocab, 10), control_of({.temperature = 0, .top_k = 3, .top_p = 0.9f})});
        // The largest one in several places.
        for (uint32_t n = 0; n < i; ++n) rows.back().logits[random() % n_vocab] = 11;
      }
      rows.push_back({std::vector<float>(n_vocab, -2.5f), control_of({.temperature = 0})});
      rows.push_back({std::vector<float>(n_vocab, -kInfinity), control_of({.temperature = 0})});
      rows.back().logits.back() = -3e38f;
      const std::vector<Outcome> outcomes = run(*gpu, rows);
      for (size_t i = 0; i < rows.size(); ++i) {
        const auto largest = std::max_element(rows[i].logits.begin(), rows[i].logits.end());
        CHECK(outcomes[i].id == uint32_t(largest - rows[i].logits.begin()));
        CHECK(outcomes[i].reason == Frozen::no);
      }
    }
  }
}

TEST_CASE("zeros of both signs are equal") {
  for (const auto& gpu : test::gpus()) {
    const std::vector<float> minus_first = {-1, -0.0f, 0.0f, -0.0f}, plus_first = {-1, 0.0f, -0.0f, 0.0f};
    const ControlBlock greedy = control_of({.temperature = 0}), one = control_of({.top_k = 1, .top_p = 1});
    const auto outcomes = run(*gpu, {{minus_first, greedy}, {plus_first, greedy}});
    CHECK(outcomes[0].id == 1);
    CHECK(outcomes[1].id == 1);
    // All three equal the cut, so that each may be drawn.
    std::vector<Row> rows;
    for (uint32_t position = 0; position < 30; ++position) {
      rows.push_back({minus_first, one});
      rows.back().control.position = position;
    }
    check_against_oracle(*gpu, rows);
  }
}

TEST_CASE("draws are the oracle's, whatever temperature, cut, seed, sequence and position") {
  const SamplerParams kinds[] = {
      {.temperature = 1, .top_k = 0, .top_p = 1},      {.temperature = 0.7f, .top_k = 0, .top_p = 0.85f},
      {.temperature = 1.5f, .top_k = 40, .top_p = 1},  {.temperature = 1, .top_k = 40, .top_p = 0.5f},
      {.temperature = 1, .top_k = 1, .top_p = 1},      {.temperature = 1, .top_k = 0, .top_p = 1e-30f},
      {.temperature = 1e-30f, .top_k = 0, .top_p = 1}, {.temperature = 100, .top_k = 0xffffffff, .top_p = 0.999f}};
  for (const auto& gpu : test::gpus()) {
    for (const uint32_t n_vocab : kVocabularies) {
      INFO(gpu->name(), ", ", n_vocab);
      std::mt19937 random(n_vocab);
      std::vector<Row> rows;
      for (uint32_t i = 0; i < (n_vocab > 8192 ? 16u : 96u); ++i) {
        SamplerParams params = kinds[i % std::size(kinds)];
        params.seed = i % 3 == 0 ? i : uint64_t(random()) << 32 | random();
        rows.push_back({test::random_values(random, n_vocab, 8), control_of(params, random() % 5, random())});
        if (i % 4 == 0) rows.back().control.n_generated = i;
      }
      // Among 65 536 tokens the boundaries lie 1.5e-5 apart on average, as far as sums in f32 err: an H200 moved 2
      // of 16.
      check_against_oracle(*gpu, rows, n_vocab > 8192 ? 4 : 0);
    }
  }
}

TEST_CASE("every filter leaves what the oracle's leaves, in both orders") {
  std::vector<SamplerParams> kinds;
  for (const SamplerOrder order : {SamplerOrder::rwkv, SamplerOrder::llama}) {
    kinds.push_back({.top_p = 1, .order = order, .min_p = 0.05f});
    kinds.push_back({.temperature = 2, .top_p = 1, .order = order, .min_p = 1});
    kinds.push_back({.top_p = 1, .order = order, .typical_p = 0.5f});
    kinds.push_back({.top_p = 1, .order = order, .typical_p = 1e-20f});
    kinds.push_back({.top_k = 20, .top_p = 0.7f, .order = order});
    kinds.push_back(
        {.temperature = 0.8f, .top_k = 50, .top_p = 0.9f, .order = order, .min_p = 0.01f, .typical_p = 0.9f});
    kinds.push_back({.top_p = 1, .order = order, .xtc_probability = 1, .xtc_threshold = 0.05f});
    kinds.push_back({.temperature = 1e-30f, .top_p = 1, .order = order, .xtc_probability = 1, .xtc_threshold = 1e-6f});
    kinds.push_back({.top_k = 30,
                     .top_p = 0.9f,
                     .order = order,
                     .min_p = 0.02f,
                     .typical_p = 0.8f,
                     .xtc_probability = 0.5f,
                     .xtc_threshold = 0.02f});
    kinds.push_back({.top_p = 0.5f, .order = order, .mirostat_tau = 3});
    kinds.push_back({.temperature = 3, .top_k = 1, .order = order, .mirostat_tau = 1e-3f});
  }
  for (const auto& gpu : test::gpus()) {
    for (const uint32_t n_vocab : {1u, 7u, 257u, 8192u, 65537u}) {
      INFO(gpu->name(), ", ", n_vocab);
      std::mt19937 random(n_vocab);
      std::vector<Row> rows;
      for (uint32_t i = 0; i < (n_vocab > 8192 ? 11u : 88u); ++i) {
        SamplerParams params = kinds[i % kinds.size()];
        params.seed = random();
        rows.push_back({test::random_values(random, n_vocab, 8), control_of(params, random() % 5, random())});
        if (i % 2 == 0 && n_vocab > 1) rows.back().logits[random() % n_vocab] = -kInfinity;
        if (i % 3 == 0) rows.back().control.mirostat_mu = 0.1f * float(i);
      }
      check_against_oracle(*gpu, rows, n_vocab > 8192 ? 3 : 0);
    }
  }
}

/// Rows that lead a shape with a list of `list_max` on every way to a cut: it is found in the list; in the bin of the
/// cut alone; among so many equal logits that only the row holds them; with no list at all.
std::vector<Row> rows_of_every_way(uint32_t n_vocab) {
  std::mt19937 random(n_vocab);
  std::vector<SamplerParams> kinds;
  for (const SamplerOrder order : {SamplerOrder::rwkv, SamplerOrder::llama}) {
    for (const float share : {1e-4f, 0.3f, 0.9f, 0.9999f, 0.99999994f}) {
      kinds.push_back({.top_p = share, .order = order});
      kinds.push_back({.top_p = 1, .order = order, .typical_p = share});
      kinds.push_back({.top_k = uint32_t(share * float(n_vocab)), .top_p = 1, .order = order});
      kinds.push_back({.temperature = 0.9f,
                       .top_k = uint32_t(share * float(n_vocab)),
                       .top_p = 0.95f,
                       .order = order,
                       .min_p = 0.001f,
                       .typical_p = 0.95f,
                       .xtc_probability = 1,
                       .xtc_threshold = 0.01f});
    }
    kinds.push_back({.top_p = 1, .order = order, .xtc_probability = 1, .xtc_threshold = 1e-4f});
    kinds.push_back({.temperature = 2, .top_p = 1, .order = order, .min_p = 0.3f});
    kinds.push_back({.temperature = 0.7f, .top_p = 1, .mirostat_tau = 8});
  }
  // Peaked; flat; nearly the same; four values; one; half of them impossible; one far above the rest.
  const auto logit = [&](uint32_t kind) -> float {
    std::normal_distribution<float> normal;
    switch (kind) {
      case 0:
        return 4 * normal(random);
      case 1:
        return normal(random);
      case 2:
        return 7 + 1e-3f * normal(random);
      case 3:
        return float(random() % 4);
      case 4:
        return -1.5f;
      case 5:
        return random() % 2 == 0 ? -kInfinity : 2 * normal(random);
      default:
        return normal(random) - 12;
    }
  };
  std::vector<Row> rows;
  for (uint32_t i = 0; i < 7 * kinds.size(); ++i) {
    std::vector<float> logits(n_vocab);
    for (float& each : logits) each = logit(i % 7);
    if (i % 7 == 6) logits[random() % n_vocab] = 3;
    kinds[i / 7].seed = random();
    rows.push_back({logits, control_of(kinds[i / 7], 0, i)});
  }
  return rows;
}

TEST_CASE("every way to a cut and to a draw gives the oracle's token") {
  // Among thousands of nearly equal tokens a GPU's exp() may move a cut by one.
  constexpr size_t kExplainedMax = 4;
  for (const auto& gpu : test::gpus()) {
    check_against_oracle(*gpu, rows_of_every_way(5000), kExplainedMax);
    if (!gpu->device.info().software) check_against_oracle(*gpu, rows_of_every_way(65536), 4 * kExplainedMax);
    // T0 has the same code but for its sums, and software Vulkan compiles this for seconds.
    const kernels::SampleShape small{.invocations = 64, .each = 2, .list_max = 64};
    for (const uint32_t n_vocab : {63u, 65u, 1001u}) {
      INFO(gpu->name(), ", ", n_vocab);
      if (gpu->half()) check_against_oracle(*gpu, rows_of_every_way(n_vocab), kExplainedMax, small);
    }
  }
}

TEST_CASE("mirostat's mu moves as the oracle's, and in no other request") {
  for (const auto& gpu : test::gpus()) {
    std::mt19937 random(3);
    std::vector<Row> rows;
    for (uint32_t i = 0; i < 40; ++i) {
      const SamplerParams params = {.temperature = i % 4 == 3 ? 0 : 0.5f + 0.1f * float(i % 7),
                                    .mirostat_tau = i % 4 == 2 ? 0 : 1 + 0.1f * float(i),
                                    .mirostat_eta = 0.3f};
      rows.push_back({test::random_values(random, 300, 6), control_of(params, 0, i)});
      if (i % 3 != 0) rows.back().control.mirostat_mu = 0.25f * float(i);
    }
    check_against_oracle(*gpu, rows);
    const std::vector<Outcome> outcomes = run(*gpu, rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      const SamplerParams params = params_of(rows[i].control);
      const float before = rows[i].control.mirostat_mu, after = outcomes[i].control.mirostat_mu;
      INFO("row ", i);
      if (params.temperature == 0 || params.mirostat_tau == 0)
        CHECK(after == before);
      else
        CHECK(after ==
              doctest::Approx(kernels::mirostat_mu_ref(rows[i].logits, params, before, outcomes[i].id)).epsilon(1e-4));
    }
    // A stop token does not stay in the text.
    Row stopping{{0, 0, 3, 0}, control_of({.mirostat_tau = 1, .mirostat_eta = 1})};
    stopping.control.n_stop = 4;
    for (uint32_t id = 0; id < 4; ++id) stopping.control.stop[id] = id;
    stopping.control.mirostat_mu = 1.5f;
    CHECK(run(*gpu, {stopping})[0].control.mirostat_mu == 1.5f);
  }
}

TEST_CASE("where penalties are on and the token stays in the text, counts decay and it is counted once") {
  for (const auto& gpu : test::gpus()) {
    const SamplerParams counting = {.temperature = 0, .presence_penalty = 0.1f}, plain = {.temperature = 0};
    const std::vector<float> before = {4, 0, 3, 0, 1};
    std::vector<Row> rows;
    for (const SamplerParams& params :
         {plain, counting, SamplerParams{.temperature = 0, .frequency_penalty = -1, .penalty_decay = 0.3f},
          SamplerParams{.temperature = 0, .repetition_penalty = 1.1f}, counting, counting, counting, counting})
      rows.push_back({{0, 0, 9, 0, 0}, control_of(params), before});
    rows[4].control.n_uncounted = 2;
    rows[4].control.uncounted[1] = 2;
    rows[5].control.n_stop = 1;
    rows[5].control.stop[0] = 2;
    rows[6].control.limit = 1;
    rows[7].logits[1] = kInfinity;
    const std::vector<Outcome> outcomes = run(*gpu, rows, 3);
    for (size_t i = 0; i < rows.size(); ++i) {
      INFO("row ", i);
      const ControlBlock& control = rows[i].control;
      SamplerParams params = params_of(control);
      params.presence_penalty = control.presence_penalty;
      params.frequency_penalty = control.frequency_penalty;
      params.repetition_penalty = control.repetition_penalty;
      params.penalty_decay = control.penalty_decay;
      std::vector<float> expected = before;
      if (i != 5 && i != 7)
        kernels::count_token_ref(expected, params, 2, std::span(control.uncounted, control.n_uncounted));
      CHECK(outcomes[i].counts == expected);
    }
  }
}

TEST_CASE("draws follow the uniform number through equal tokens") {
  for (const auto& gpu : test::gpus()) {
    // A thousand equal tokens: the draw is the uniform number itself.
    std::vector<Row> rows;
    for (uint32_t i = 0; i < 200; ++i) {
      rows.push_back({std::vector<float>(1000, 0.0f), control_of({.top_p = 1, .seed = i / 50}, i / 10 % 5, i % 10)});
    }
    check_against_oracle(*gpu, rows, 4);
  }
}

TEST_CASE("ties at the cut stay, tokens at minus infinity are never drawn") {
  for (const auto& gpu : test::gpus()) {
    std::vector<Row> rows;
    for (uint32_t position = 0; position < 60; ++position) {
      rows.push_back({{1, 3, 1, 1, 0, -kInfinity, 1, 2}, control_of({.top_k = 3, .top_p = 1}, 0, position)});
      rows.push_back({{1, 3, 1, 1, 0, -kInfinity, 1, 2}, control_of({.top_p = 0.75f}, 0, position)});
      rows.push_back({{-kInfinity, 0, -kInfinity, 0, 0, 0, 0, -kInfinity},
                      control_of({.temperature = 1e30f, .top_p = 1}, 0, position)});
      rows.push_back({{3e38f, -3e38f, 0, 0, 0, 0, 0, 0}, control_of({.top_p = 1}, 0, position)});
    }
    // The uniform number 0.
    rows.push_back({{-kInfinity, 0, 0, 0, 0, 0, 0, 0}, control_of({.top_p = 1}, 0, 5297128)});
    check_against_oracle(*gpu, rows);
  }
}

TEST_CASE("a stop token and the limit freeze the slot, in that order") {
  for (const auto& gpu : test::gpus()) {
    const std::vector<float> logits = {0, 0, 9, 0, 0};
    Row plain{logits, control_of({.temperature = 0})};
    std::vector<Row> rows(7, plain);
    rows[1].control.n_stop = 1;
    rows[1].control.stop[0] = 2;
    rows[2].control.n_stop = kernels::kStopMax;
    rows[2].control.stop[kernels::kStopMax - 1] = 2;
    rows[3].control.stop[0] = 2;  // but no stop tokens are counted
    rows[4].control.limit = 3;
    rows[4].control.n_generated = 2;
    rows[5].control.limit = 3;
    rows[5].control.n_generated = 1;
    rows[6].control = rows[4].control;
    rows[6].control.n_stop = 2;
    rows[6].control.stop[0] = 4;
    rows[6].control.stop[1] = 2;
    const Frozen expected[] = {Frozen::no,    Frozen::stop, Frozen::stop, Frozen::no,
                               Frozen::limit, Frozen::no,   Frozen::stop};
    const std::vector<Outcome> outcomes = run(*gpu, rows, 50);
    for (size_t i = 0; i < rows.size(); ++i) {
      INFO(gpu->name(), ", row ", i);
      CHECK(outcomes[i].id == 2);
      CHECK(outcomes[i].reason == expected[i]);
      CHECK(outcomes[i].control.frozen == uint32_t(expected[i]));
      // All that is not the outcome stays as it was.
      ControlBlock rest = outcomes[i].control;
      rest.next_token = rows[i].control.next_token;
      rest.frozen = rows[i].control.frozen;
      rest.n_generated = rows[i].control.n_generated;
      CHECK(std::memcmp(&rest, &rows[i].control, sizeof(rest)) == 0);
    }
  }
}

TEST_CASE("a frozen slot gives no token and keeps its block") {
  for (const auto& gpu : test::gpus()) {
    std::vector<Row> rows(3, {{0, 1}, control_of({.temperature = 0})});
    for (uint32_t reason = 1; reason <= 3; ++reason) rows[reason - 1].control.frozen = reason;
    const std::vector<Outcome> outcomes = run(*gpu, rows);
    for (uint32_t reason = 1; reason <= 3; ++reason) {
      const Outcome& outcome = outcomes[reason - 1];
      CHECK(outcome.id == kernels::kNoToken);
      CHECK(outcome.reason == Frozen(reason));
      CHECK(std::memcmp(&outcome.control, &rows[reason - 1].control, sizeof(ControlBlock)) == 0);
    }
  }
}

TEST_CASE("logits that are not numbers freeze the slot, wherever they stand") {
  for (const auto& gpu : test::gpus()) {
    for (const uint32_t n_vocab : {1u, 257u, 8192u}) {
      for (const float temperature : {0.0f, 1.0f}) {
        std::vector<Row> rows;
        for (const float bad : {kNan, -kNan, kInfinity}) {
          for (const uint32_t at : {0u, n_vocab / 2, n_vocab - 1}) {
            rows.push_back({std::vector<float>(n_vocab, 1.0f), control_of({.temperature = temperature})});
            rows.back().logits[at] = bad;
          }
        }
        rows.push_back({std::vector<float>(n_vocab, -kInfinity), control_of({.temperature = temperature})});
        for (const Outcome& outcome : run(*gpu, rows)) {
          CHECK(outcome.id == kernels::kNoToken);
          CHECK(outcome.reason == Frozen::numerical);
          CHECK(outcome.control.frozen == uint32_t(Frozen::numerical));
        }
      }
    }
  }
}

TEST_CASE("rows that want no token are left alone") {
  for (const auto& gpu : test::gpus()) {
    test::Scene scene(*gpu, kTokensMax);
    scene.control_written = true;
    scene.control = {control_of({.temperature = 0}), control_of({.temperature = 0})};
    const std::vector<uint32_t> ids(3);
    scene.step().add_chunk({0, ids});
    scene.step().add_output({0, 0, false});
    scene.step().add_output({2, 1, true});
    const std::vector<float> logits = {5, 1, 1, 5};
    const test::Region logits_region = scene.input(logits), sampled = scene.output(9);
    const test::Region counts = scene.in_place(std::vector<float>(4));
    scene.run([&](const kernels::Context& context) {
      kernels::sample(context, {2, scene.view(logits_region), scene.view(counts), scene.view(sampled)});
    });
    CHECK(scene.words(sampled) == std::vector<uint32_t>{test::kCanary, test::kCanary, test::kCanary, 1, 0, 0,
                                                        test::kCanary, test::kCanary, test::kCanary});
    const ControlBlock left_alone = scene.control_after(0);
    CHECK(std::memcmp(&left_alone, &scene.control[0], sizeof(ControlBlock)) == 0);
    CHECK(scene.control_after(1).next_token == 1);
  }
}

TEST_SUITE_END();
