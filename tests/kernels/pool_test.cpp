// tests/kernels/pool_test.cpp: pool, and begin_states
#include "kernels/pool.hpp"

#include "kernels/begin_states.hpp"
#include "kernels/pool_ref.hpp"
#include "kernels/values.hpp"

using namespace ravenwing;
using kernels::Pooled;

namespace {

constexpr uint32_t kTokensMax = 600;
constexpr float kEpsilon = 1e-5f;

struct TestChunk {
  uint32_t slot, count;
  uint32_t after = kernels::kBegins;
};

struct Case {
  std::string why;
  uint32_t n_embd;
  std::vector<TestChunk> chunks;
};

void add_chunks(kernels::StepInput& step, std::span<const TestChunk> chunks) {
  for (const TestChunk& chunk : chunks) {
    const std::vector<uint32_t> ids(chunk.count);
    step.add_chunk({chunk.slot, ids, chunk.after});
  }
}

void check_case(test::Gpu& gpu, const Case& pool, Pooled pooled, bool normed) {
  constexpr uint32_t kSlots = 9;
  INFO(gpu.name(), ": ", pool.why, ", n_embd ", pool.n_embd, ", normed ", normed, ", sum ", pooled == Pooled::sum);
  const uint32_t n = pool.n_embd;
  std::mt19937 random(n);
  test::Scene scene(gpu, kTokensMax);
  add_chunks(scene.step(), pool.chunks);
  const std::vector<float> x = test::random_values(random, size_t(scene.step().n_tokens()) * n, 2, 1);
  const std::vector<float> vectors = test::random_values(random, 2 * size_t(n), 2);
  const std::vector<float> before = test::random_values(random, size_t(kSlots) * n, 3);
  const test::Region x_region = scene.input(x), vectors_region = scene.input(vectors);
  const test::Region sums = scene.in_place(before);
  scene.run([&](const kernels::Context& context) {
    kernels::pool(context,
                  {n, kEpsilon, pooled, scene.view(x_region), scene.view(vectors_region), normed, scene.view(sums)});
  });
  std::vector<double> expected(before.begin(), before.end()), error(before.size());
  const kernels::PoolNorm norm{std::span(vectors).first(n), std::span(vectors).last(n), kEpsilon};
  for (size_t first = 0; const TestChunk& chunk : pool.chunks) {
    auto rows = std::span(x).subspan(first * n, size_t(chunk.count) * n);
    first += chunk.count;
    if (chunk.count == 0) continue;
    if (pooled == Pooled::last) rows = rows.last(n);
    const std::vector<double> found = kernels::pool_ref(rows, n, normed ? &norm : nullptr);
    const bool adds = pooled == Pooled::sum && chunk.after == kernels::kGoesOn;
    for (uint32_t d = 0; d < n; ++d) {
      const size_t at = size_t(chunk.slot) * n + d;
      expected[at] = found[d] + (adds ? double(before[at]) : 0);
      // Each row is at most some 30 of these units off, and each addition rounds.
      error[at] = test::kF32Unit * 40 * (chunk.count + 1) * (chunk.count + 4);
    }
  }
  test::Expected all;
  for (size_t i = 0; i < expected.size(); ++i) all.add(expected[i], error[i]);
  test::check_close(scene.floats(sums), all, test::kNmseF32);
}

}  // namespace

TEST_SUITE_BEGIN("pool");

TEST_CASE("the last token and the sum of all, raw and normed, of texts that begin and that go on") {
  const Case cases[] = {{"one token", 8, {{3, 1}}},
                        {"a workgroup's width", 128, {{0, 4}, {1, 5}, {8, 3}}},
                        {"odd", 129, {{2, 7}, {5, 2, kernels::kGoesOn}, {4, 0}, {1, 1}}},
                        {"a model's", 768, {{0, 64}, {7, 33, kernels::kGoesOn}, {6, 2, kernels::kAfterSlot + 3}}},
                        {"a long one", 64, {{1, 512}, {2, 1}}}};
  for (const auto& gpu : test::gpus()) {
    for (const Case& pool : cases) {
      for (const Pooled pooled : {Pooled::last, Pooled::sum}) {
        for (const bool normed : {false, true}) check_case(*gpu, pool, pooled, normed);
      }
    }
  }
}

TEST_CASE("a sum has the same bits however its text is cut") {
  constexpr uint32_t kEmbd = 96, kTokens = 23;
  std::mt19937 random(1);
  const std::vector<float> x = test::random_values(random, size_t(kTokens) * kEmbd, 2, 1);
  const std::vector<float> vectors = test::random_values(random, 2 * size_t(kEmbd), 2);
  for (const auto& gpu : test::gpus()) {
    INFO(gpu->name());
    const auto sum = [&](const std::vector<uint32_t>& cuts) {
      std::vector<float> sums(kEmbd);
      uint32_t first = 0;
      for (const uint32_t count : cuts) {
        test::Scene scene(*gpu, kTokensMax);
        const TestChunk chunk{0, count, first == 0 ? kernels::kBegins : kernels::kGoesOn};
        add_chunks(scene.step(), {&chunk, 1});
        const test::Region rows = scene.input(std::span(x).subspan(size_t(first) * kEmbd, size_t(count) * kEmbd));
        const test::Region vectors_region = scene.input(vectors), region = scene.in_place(sums);
        scene.run([&](const kernels::Context& context) {
          kernels::pool(context, {kEmbd, kEpsilon, Pooled::sum, scene.view(rows), scene.view(vectors_region), true,
                                  scene.view(region)});
        });
        sums = scene.floats(region);
        first += count;
      }
      return sums;
    };
    const std::vector<float> whole = sum({kTokens});
    CHECK(whole == sum({1, 4, 6, 12}));
    CHECK(whole == sum({20, 3}));
  }
}

TEST_CASE("states of texts that begin are zero or another slot's, all others stay") {
  constexpr uint32_t kLayers = 3, kSlots = 6;
  const std::vector<TestChunk> chunks = {
      {0, 3, kernels::kBegins}, {1, 2, kernels::kGoesOn}, {3, 1, kernels::kAfterSlot + 2}, {5, 0, kernels::kBegins}};
  for (const auto& gpu : test::gpus()) {
    for (const uint32_t slot_words : {4u, 132u, 40000u}) {
      INFO(gpu->name(), ": ", slot_words);
      const uint32_t layer_words = kSlots * slot_words + 12;
      test::Scene scene(*gpu, kTokensMax);
      add_chunks(scene.step(), chunks);
      std::vector<uint32_t> states(size_t(kLayers) * layer_words);
      for (size_t i = 0; i < states.size(); ++i) states[i] = uint32_t(i + 1) * 2654435761u;
      const test::Region region = scene.in_place(states);
      scene.run([&](const kernels::Context& context) {
        kernels::begin_states(context, {"begin", scene.view(region), kLayers, layer_words * 4, slot_words * 4});
      });
      for (uint32_t layer = 0; layer < kLayers; ++layer) {
        const auto slot = [&](uint32_t s) { return states.begin() + ptrdiff_t(layer * layer_words + s * slot_words); };
        std::fill_n(slot(0), slot_words, 0);
        std::copy_n(slot(2), slot_words, slot(3));
      }
      CHECK(scene.words(region) == states);
    }
  }
}
