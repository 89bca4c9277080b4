// tests/kernels/token_shift_test.cpp
#include "kernels/token_shift.hpp"

#include <algorithm>
#include <optional>

#include "kernels/sequences.hpp"
#include "kernels/token_shift_ref.hpp"
#include "kernels/values.hpp"

using namespace ravenwing;
using test::SequenceChunk;

namespace {

constexpr float kEpsilon = 1e-5f;

struct Case {
  std::string why;
  uint32_t n_embd, n_mix;
  std::vector<SequenceChunk> chunks;
  uint32_t tokens_max = 600;
  std::optional<uint32_t> tokens{};  // of a workgroup
  bool exact = false;
};

struct Data {
  std::vector<float> x;            // [token, n_embd]
  std::vector<float> vectors;      // [2 + n_mix, n_embd]
  std::vector<float> shift_state;  // [slot, n_embd]
};

Data make_data(const Case& shift) {
  const size_t n = shift.n_embd;
  std::mt19937 random(shift.n_embd);
  return {test::random_values(random, test::token_count(shift.chunks) * n, 2, 0.5f),
          test::random_values(random, (2 + shift.n_mix) * n),
          test::random_values(random, test::slot_count(shift.chunks) * n)};
}

struct Result {
  std::vector<float> mixed;        // [n_mix, token, n_embd]
  std::vector<float> shift_state;  // [slot, n_embd]
};

Result run(test::Gpu& gpu, const Case& shift, const Data& data) {
  const uint32_t n = shift.n_embd;
  test::Scene scene(gpu, shift.tokens_max);
  test::add_chunks(scene, shift.chunks);
  const test::Region x = scene.input(data.x), vectors = scene.input(data.vectors);
  const test::Region state = scene.in_place(data.shift_state);
  const test::Region mixed = scene.output_acts(size_t(shift.n_mix) * shift.tokens_max * kernels::act_stride(n));
  scene.run([&](const kernels::Context& context) {
    kernels::token_shift(context, {"test", n, shift.n_mix, kEpsilon, scene.view(x), scene.view(vectors),
                                   scene.view(state), scene.view(mixed), shift.exact, shift.tokens});
  });
  const test::Planes planes{shift.n_mix, shift.tokens_max, test::token_count(shift.chunks), n};
  return {planes.take(scene.acts(mixed)), scene.floats(state)};
}

/// Expected [n_mix, token, n] and state [n] of one chunk.
std::pair<test::Expected, test::Expected> expected_of(test::Gpu& gpu, std::span<const float> x,
                                                      std::span<const float> vectors,
                                                      std::span<const float> shift_state) {
  const size_t n = shift_state.size(), n_tokens = x.size() / n, n_mix = vectors.size() / n - 2;
  const kernels::TokenShiftResult reference = kernels::token_shift_ref(x, vectors, shift_state, kEpsilon);
  test::Expected previous;
  for (const float value : shift_state) previous.add(value, 0);
  test::Expected mixed;
  mixed.add_untouched(reference.mixed.size());
  mixed.values = reference.mixed;
  for (size_t token = 0; token < n_tokens; ++token) {
    const test::Expected own =
        test::layer_norm_expected(gpu, x.subspan(token * n, n), vectors.first(2 * n), kEpsilon, false);
    for (size_t i = 0; i < n_mix * n; ++i) {
      const size_t d = i % n, at = (i / n * n_tokens + token) * n + d;
      const double share = std::abs(double(vectors[2 * n + i]));
      // Of both rows' norms, and of a subtraction, a product and an addition.
      const double error = own.tolerance[d] * (1 + share) + previous.tolerance[d] * share +
                           3 * test::kF32Unit * (1 + share) * (std::abs(own.values[d]) + std::abs(previous.values[d]));
      mixed.tolerance[at] = error + test::act_rounding(gpu, std::abs(mixed.values[at]) + error);
    }
    previous = own;
  }
  previous.values = reference.shift_state;
  return {mixed, previous};
}

void check_case(test::Gpu& gpu, const Case& shift) {
  INFO(gpu.name(), ": ", shift.why, ", n_embd ", shift.n_embd, ", n_mix ", shift.n_mix);
  const uint32_t n = shift.n_embd;
  const Data data = make_data(shift);
  const Result result = run(gpu, shift, data);
  test::Expected states;
  for (const float value : data.shift_state) states.add(value, 0);
  const test::Planes planes{shift.n_mix, shift.tokens_max, test::token_count(shift.chunks), n};
  uint32_t first = 0;
  for (const SequenceChunk& chunk : shift.chunks) {
    const auto x = std::span(data.x).subspan(size_t(first) * n, size_t(chunk.count) * n);
    const auto before = std::span(data.shift_state).subspan(size_t(chunk.slot) * n, n);
    const auto [mixed, state] = expected_of(gpu, x, data.vectors, before);
    test::check_close(test::tokens_of(result.mixed, planes, first, chunk.count), mixed, test::nmse_max_of_acts(gpu));
    if (!chunk.frozen) {
      std::copy(state.values.begin(), state.values.end(), states.values.begin() + ptrdiff_t(chunk.slot) * n);
      std::copy(state.tolerance.begin(), state.tolerance.end(), states.tolerance.begin() + ptrdiff_t(chunk.slot) * n);
    }
    first += chunk.count;
  }
  test::check_close(result.shift_state, states, test::kNmseF32);
}

}  // namespace

TEST_SUITE_BEGIN("token_shift");

TEST_CASE("chunks of every length, slots in any order, widths on both sides of a workgroup") {
  std::vector<Case> cases;
  for (const uint32_t n_mix : {6u, 1u}) {
    cases.push_back({"one element", 1, n_mix, {{0, 1}}});
    cases.push_back({"unequal lengths, an empty chunk", 129, n_mix, {{2, 3}, {5, 0}, {0, 1}, {3, 8}}});
    cases.push_back({"slots above 255", 40, n_mix, {{300, 2}, {256, 5}, {255, 1}}});
    cases.push_back({"a model's width", 768, n_mix, {{1, 2}, {0, 3}}});
    for (const uint32_t length : test::kLengths) cases.push_back({"one sequence", 24, n_mix, {{1, length}}});
    cases.push_back({"frozen slots keep their state", 24, n_mix, {{0, 3}, {1, 4, true}, {2, 1, true}, {3, 1}}});
  }
  // Offsets within the step and within the planes follow the constant.
  cases.push_back({"another size of step", 24, 6, {{1, 7}, {0, 2}}, 9});
  for (const auto& gpu : test::gpus()) {
    for (const Case& shift : cases) check_case(*gpu, shift);
  }
}

TEST_CASE("several tokens of a workgroup: chunks that begin, end and go on anywhere in it") {
  std::vector<SequenceChunk> shuffled;
  for (uint32_t i = 0; i < 37; ++i) shuffled.push_back({i * 11 % 37, 1, i % 5 == 2});
  std::vector<Case> cases;
  for (const auto& [tokens, n_mix] : {std::pair(2u, 6u), {4u, 6u}, {4u, 1u}}) {
    const auto add = [&, tokens = tokens, n_mix = n_mix](std::string why, uint32_t n_embd,
                                                         std::vector<SequenceChunk> chunks) {
      cases.push_back({std::move(why), n_embd, n_mix, std::move(chunks), 600, tokens});
    };
    add("one element", 1, {{0, 1}});
    add("unequal lengths, an empty chunk", 40, {{2, 3}, {5, 0}, {0, 1}, {3, 8}, {300, 11}, {1, 2}, {4, 1}});
    add("sequences of one token, slots in no order, some frozen", 24, shuffled);
    add("frozen slots", 24, {{0, 3}, {1, 4, true}, {2, 1, true}, {3, 1}, {4, 9, true}, {5, 2}});
    for (const uint32_t length : {2u, 3u, 5u, 257u}) add("one sequence", 24, {{1, length}});
    for (uint32_t before = 1; before <= tokens; ++before)
      add("a long sequence that begins anywhere in a workgroup", 24, {{2, before}, {0, 19}, {1, 2}});
    if (n_mix * tokens == 24) add("wider than a workgroup", 129, {{2, 3}, {0, 1}, {3, 8}, {1, 2}});
  }
  for (const auto& gpu : test::gpus()) {
    for (const Case& shift : cases) {
      // Software takes seconds to compile each that sums through memory.
      const bool slow = gpu->device.tier() == gpu::Tier::t0 && gpu->device.info().software;
      if (slow && !(shift.tokens == 4u && shift.n_mix == 1)) continue;
      INFO(*shift.tokens, " tokens of a workgroup");
      check_case(*gpu, shift);
    }
  }
}

TEST_CASE("in exact mode a sequence has the same bits alone, beside others and in pieces") {
  constexpr uint32_t kWidth = 24;
  for (const auto& gpu : test::gpus()) {
    for (const uint32_t length : test::kLengths) {
      INFO(gpu->name(), ", ", length, " tokens");
      const Case alone{"alone", kWidth, 6, {{0, length}}, 600, {}, true};
      const Data data = make_data(alone);
      const Result whole = run(*gpu, alone, data);
      const test::Planes planes{6, alone.tokens_max, length, kWidth};

      const Case beside{"beside others", kWidth, 6, {{2, 5}, {0, length}, {1, 3}}, 600, {}, true};
      Data more = make_data(beside);
      more.vectors = data.vectors;
      std::copy(data.x.begin(), data.x.end(), more.x.begin() + 5 * kWidth);
      std::copy(data.shift_state.begin(), data.shift_state.end(), more.shift_state.begin());
      const Result among = run(*gpu, beside, more);
      CHECK(test::same(test::tokens_of(among.mixed, {6, 600, length + 8, kWidth}, 5, length), whole.mixed));
      CHECK(test::same(std::span(among.shift_state).first(kWidth), whole.shift_state));

      for (const std::vector<uint32_t>& split : test::splits_of(length)) {
        INFO("first ", split[0]);
        Data piece = data;
        uint32_t first = 0;
        for (const uint32_t count : split) {
          if (count == 0) continue;
          piece.x.assign(data.x.begin() + first * kWidth, data.x.begin() + (first + count) * kWidth);
          const Result part = run(*gpu, {"piece", kWidth, 6, {{0, count}}, 600, {}, true}, piece);
          CHECK(test::same(part.mixed, test::tokens_of(whole.mixed, planes, first, count)));
          piece.shift_state = part.shift_state;
          first += count;
        }
        CHECK(test::same(piece.shift_state, whole.shift_state));
      }
    }
  }
}

TEST_SUITE_END();
