// tests/kernels/time_mix_test.cpp
#include "kernels/time_mix.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "base/half.hpp"
#include "kernels/sequences.hpp"
#include "kernels/time_mix_ref.hpp"
#include "kernels/tuning.hpp"
#include "kernels/values.hpp"

using namespace ravenwing;
using test::SequenceChunk;

namespace {

constexpr float kEpsilon = 64e-5f;
/// Every token rounds each element of the state a few times and adds a sum over a head of 128 at most; what it has is
/// multiplied by at most 1, so that errors add up, at worst one after another.
constexpr double kUnitsPerToken = 32;
constexpr StateStorage kF16 = StateStorage::f16;
/// Over 512 tokens the errors, of random signs, leave the whole this close: kNmseF32 times some tokens' worth.
constexpr double kStateNmse = 1e-10;
/// The form `wy` multiplies f16: of each sum so many of its units, of the whole so much.
constexpr double kWyUnits = 4, kWyNmse = 1e-6;

struct Case {
  std::string why;
  uint32_t n_embd, head_size;
  bool first_layer;
  std::vector<SequenceChunk> chunks;
  uint32_t tokens_max = 600;
  std::optional<uint32_t> shares;
  std::optional<kernels::TimeMixForm> form;
  StateStorage storage = StateStorage::f32;
  const kernels::Tuning* tuning = nullptr;  // in place of the form
  bool in_parts = false;
};

/// Inputs of a step, all [plane, token, n_embd], as the tier stores them.
struct Data {
  std::vector<float> r_k_v, up, v_first;
  std::vector<float> vectors, wkv_state;
};

Data make_data(test::Gpu& gpu, const Case& op) {
  const size_t n = op.n_embd, size = test::token_count(op.chunks) * n;
  std::mt19937 random(op.n_embd + op.head_size);
  Data data{test::random_values(random, 3 * size, 1.5f),
            test::random_values(random, 4 * size, 2),
            test::random_values(random, size),
            {},
            test::random_values(random, test::slot_count(op.chunks) * n * op.head_size)};
  if (op.storage == StateStorage::f16) kernels::round_states_to_f16(std::span(data.wkv_state));
  for (std::vector<float>* acts : {&data.r_k_v, &data.up, &data.v_first}) *acts = test::as_acts(gpu, *acts);
  // Where trained models have them: w0 a0 v0 k_k k_a r_k ln_x.
  constexpr std::array<std::array<float, 2>, 8> kScaleAndOffset = {
      {{4, -2}, {1, 0}, {1, 0.5f}, {0.4f, 0.8f}, {0.3f, 1}, {0.5f, 0}, {0.5f, 1}, {0.2f, 0}}};
  for (const auto& [scale, offset] : kScaleAndOffset) {
    const std::vector<float> vector = test::random_values(random, n, scale, offset);
    data.vectors.insert(data.vectors.end(), vector.begin(), vector.end());
  }
  return data;
}

/// As memory has them.
std::vector<uint32_t> stored(std::span<const float> states, StateStorage storage) {
  std::vector<uint32_t> words;
  if (storage == StateStorage::f32) {
    for (const float value : states) words.push_back(std::bit_cast<uint32_t>(value));
  } else {
    for (size_t i = 0; i < states.size(); i += 2)
      words.push_back(f32_to_finite_f16(states[i]) | uint32_t(f32_to_finite_f16(states[i + 1])) << 16);
  }
  return words;
}

std::vector<float> states_of(std::span<const uint32_t> words, StateStorage storage) {
  std::vector<float> states;
  for (const uint32_t word : words) {
    if (storage == StateStorage::f32) {
      states.push_back(std::bit_cast<float>(word));
    } else {
      states.push_back(f16_to_f32(uint16_t(word)));
      states.push_back(f16_to_f32(uint16_t(word >> 16)));
    }
  }
  return states;
}

struct Result {
  std::vector<float> gated, v_first;  // [token, n_embd]
  std::vector<float> wkv_state;       // [slot, n_head, head_size, head_size]
  size_t n_dispatches = 0;
};

Result run(test::Gpu& gpu, const Case& op, const Data& data) {
  const uint32_t n_tokens = test::token_count(op.chunks);
  const auto planes = [&](uint32_t n_planes) { return test::Planes{n_planes, op.tokens_max, n_tokens, op.n_embd}; };
  const size_t plane_size = size_t(op.tokens_max) * kernels::act_stride(op.n_embd);
  test::Scene scene(gpu, op.tokens_max);
  test::add_chunks(scene, op.chunks);
  const test::Region r_k_v = scene.input_acts(planes(3).spread(data.r_k_v), 8),
                     up = scene.input_acts(planes(4).spread(data.up), 8);
  const test::Region vectors = scene.input(data.vectors);
  const test::Region v_first =
      op.first_layer ? scene.output_acts(plane_size) : scene.in_place_acts(planes(1).spread(data.v_first), 8);
  const test::Region state = scene.in_place(stored(data.wkv_state, op.storage)), gated = scene.output_acts(plane_size);
  // The bands around it are watched, what is in it is not.
  const test::Region y = scene.output(size_t(op.tokens_max) * op.n_embd);
  // Read where others are written: not in a buffer with them.
  const uint64_t block_bytes = kernels::time_mix_block_bytes(gpu.device, op.n_embd, op.head_size, op.tokens_max);
  const gpu::Buffer blocks =
      gpu.device.create_storage(std::max<uint64_t>(block_bytes, 16), gpu::Account::scratch, "blocks");
  std::optional<kernels::TimeMixForm> form;
  if (op.tuning == nullptr) form = op.form.value_or(kernels::TimeMixForm::blocks);
  scene.run([&](const kernels::Context& plain) {
    kernels::Context context = plain;
    context.tuning = op.tuning;
    kernels::TimeMix whole{.label = "test",
                           .n_embd = op.n_embd,
                           .head_size = op.head_size,
                           .first_layer = op.first_layer,
                           .epsilon = kEpsilon,
                           .r_k_v = scene.view(r_k_v),
                           .up = scene.view(up),
                           .v_first = scene.view(v_first),
                           .vectors = scene.view(vectors),
                           .wkv_state = scene.view(state),
                           .storage = op.storage,
                           .gated = scene.view(gated),
                           .y = scene.view(y),
                           .blocks = blocks,
                           .form = form,
                           .shares = op.shares};
    if (!op.in_parts) return kernels::time_mix(context, whole);
    for (const auto part : {kernels::TimeMixPart::read_out, kernels::TimeMixPart::norm}) {
      whole.part = part;
      kernels::time_mix(context, whole);
    }
  });
  return {planes(1).take(scene.acts(gated)), planes(1).take(scene.acts(v_first)),
          states_of(scene.words(state), op.storage), scene.plan().dispatches().size()};
}

/// The oracle's state and output of one chunk, and how far f32 may be from them.
std::pair<test::Expected, test::Expected> expected_of(test::Gpu& gpu, const Case& op, const Data& data, uint32_t first,
                                                      const SequenceChunk& chunk) {
  const uint32_t n = op.n_embd, n_tokens = test::token_count(op.chunks);
  const auto plane = [&](const std::vector<float>& from, uint32_t index) {
    return std::span(from).subspan((size_t(index) * n_tokens + first) * n, size_t(chunk.count) * n);
  };
  const kernels::TimeMixInput in{.n_embd = n,
                                 .head_size = op.head_size,
                                 .epsilon = kEpsilon,
                                 .r = plane(data.r_k_v, 0),
                                 .k = plane(data.r_k_v, 1),
                                 .v = plane(data.r_k_v, 2),
                                 .w = plane(data.up, 0),
                                 .a = plane(data.up, 1),
                                 .v_up = plane(data.up, 2),
                                 .g = plane(data.up, 3),
                                 .v_first = op.first_layer ? std::span<const float>() : plane(data.v_first, 0),
                                 .vectors = data.vectors};
  const size_t state_size = size_t(n) * op.head_size;
  const auto before = data.wkv_state.begin() + ptrdiff_t(chunk.slot * state_size);
  std::vector<double> state_values(before, before + ptrdiff_t(state_size));
  const std::vector<double> gated_values = kernels::time_mix_ref(in, state_values);
  const auto largest = [](const std::vector<double>& values) {
    double result = 0;
    for (const double value : values) result = std::max(result, std::abs(value));
    return result;
  };
  const double error = kUnitsPerToken * (chunk.count + 1) * test::kF32Unit +
                       (op.form == kernels::TimeMixForm::wy ? kWyUnits * test::kF16Unit : 0);
  const double state_error = error * largest(state_values), gated_error = error * largest(gated_values);
  test::Expected state, gated;
  // Half a unit in the last place: the nearest f16, not one beside it.
  const auto state_rounding = [&](double value) {
    if (op.storage == StateStorage::f32) return 0.0;
    return std::max(test::kF16NormalMin, std::abs(value) + state_error) * test::kF16Unit;
  };
  for (const double value : state_values) state.add(value, state_error + state_rounding(value));
  for (const double value : gated_values) gated.add(value, gated_error + test::act_rounding(gpu, std::abs(value)));
  return {state, gated};
}

void check_case(test::Gpu& gpu, const Case& op) {
  INFO(gpu.name(), ": ", op.why, ", n_embd ", op.n_embd, ", head_size ", op.head_size, ", first_layer ",
       op.first_layer);
  const Data data = make_data(gpu, op);
  const Result result = run(gpu, op, data);
  const double nmse_max = kStateNmse + (op.form == kernels::TimeMixForm::wy ? kWyNmse : 0);
  test::Expected states;
  for (const float value : data.wkv_state) states.add(value, 0);
  uint32_t first = 0;
  for (const SequenceChunk& chunk : op.chunks) {
    const auto [state, gated] = expected_of(gpu, op, data, first, chunk);
    const auto begin = size_t(first) * op.n_embd, size = size_t(chunk.count) * op.n_embd;
    test::check_close(std::span(result.gated).subspan(begin, size), gated, nmse_max + test::nmse_max_of_acts(gpu));
    if (!chunk.frozen && chunk.count > 0) {
      const auto at = ptrdiff_t(chunk.slot * state.values.size());
      std::copy(state.values.begin(), state.values.end(), states.values.begin() + at);
      std::copy(state.tolerance.begin(), state.tolerance.end(), states.tolerance.begin() + at);
    }
    first += chunk.count;
  }
  test::check_close(result.wkv_state, states, nmse_max + (op.storage == StateStorage::f16 ? test::kNmseF16 : 0));
  const auto v = std::span(data.r_k_v).subspan(2 * data.r_k_v.size() / 3);
  CHECK_MESSAGE(test::same(result.v_first, op.first_layer ? v : data.v_first), "v_first");
}

void add_cases(uint32_t head_size, std::vector<Case>& cases) {
  cases.push_back({"one token of one head", head_size, head_size, true, {{0, 1}}});
  cases.push_back({"three heads, unequal lengths, an empty chunk",
                   3 * head_size,
                   head_size,
                   false,
                   {{2, 3}, {5, 0}, {0, 1}, {3, 8}}});
}

void check_heads(std::initializer_list<uint32_t> sizes) {
  std::vector<Case> cases;
  for (const uint32_t head_size : sizes) add_cases(head_size, cases);
  for (const auto& gpu : test::gpus()) {
    for (const Case& op : cases) check_case(*gpu, op);
  }
}

/// In a form that only some devices have.
void check_form(kernels::TimeMixForm form, std::vector<Case> cases) {
  for (const auto& gpu : test::gpus()) {
    for (Case& op : cases) {
      if (!kernels::has_time_mix_form(gpu->device, form, op.n_embd, op.head_size, uint32_t(op.chunks.size()))) continue;
      op.form = form;
      check_case(*gpu, op);
    }
  }
}

}  // namespace

TEST_SUITE_BEGIN("time_mix");

TEST_CASE("heads of every size, chunks of every length, slots in any order") {
  std::vector<Case> cases;
  for (const uint32_t head_size : {4u, 16u}) add_cases(head_size, cases);
  cases.push_back({"slots above 255", 32, 16, false, {{300, 2}, {256, 5}, {255, 1}}});
  cases.push_back({"no multiple of an octet", 12, 4, false, {{1, 2}, {0, 1}}});
  for (const uint32_t length : test::kLengths)
    cases.push_back({"one sequence", 16, 16, length % 2 == 0, {{1, length}}});
  cases.push_back({"frozen slots keep their state", 32, 16, false, {{0, 3}, {1, 4, true}, {2, 1, true}, {3, 1}}});
  cases.push_back({"states in f16", 32, 16, false, {{2, 3}, {5, 0}, {0, 1}, {1, 4, true}, {3, 18}}, 600, {}, {}, kF16});
  // Offsets within the step and within the planes follow the constant.
  cases.push_back({"another size of step", 32, 16, false, {{1, 7}, {0, 2}}, 9});
  for (const auto& gpu : test::gpus()) {
    for (Case& op : cases) {
      for (const uint32_t shares : {0u, 1u, 2u, 4u}) {
        // Software Vulkan, which would take none but 0, compiles each of these for seconds to a minute: one has to do
        // on T0, one on T1.
        const bool chosen =
            op.head_size == 16 && op.tokens_max == 600 && op.storage != kF16 && shares == (gpu->half() ? 4 : 1);
        if (shares > 0 && gpu->device.info().software && !chosen) continue;
        if (shares > 1 && (!gpu->half() || op.head_size / 4 % shares != 0)) continue;
        op.shares = shares;
        check_case(*gpu, op);
      }
    }
  }
}

TEST_CASE("heads of the size that trained models have") { check_heads({64}); }

TEST_CASE("chunks of few tokens: the whole state at once") {
  std::vector<SequenceChunk> batch;
  for (uint32_t slot = 40; slot-- > 0;) batch.push_back({slot, 1, slot % 7 == 3});
  check_form(kernels::TimeMixForm::tokens,
             {{"a batch of single tokens", 64, 32, false, batch},
              {"the first layer", 96, 32, true, {{0, 1}, {2, 1}, {1, 1, true}}},
              {"longer chunks, an empty one", 64, 32, false, {{300, 2}, {0, 7}, {4, 0}, {5, 1}, {3, 4}, {1, 9, true}}},
              {"states in f16", 64, 32, false, {{2, 1}, {0, 3}, {1, 1, true}}, 600, {}, {}, kF16}});
}

TEST_CASE("long chunks: two tokens at a time, a head to two workgroups") {
  check_form(kernels::TimeMixForm::pairs,
             {{"around the ends of a block", 128, 64, false, {{0, 7}, {1, 8}, {5, 17}, {3, 31}, {4, 33}, {2, 48}}},
              {"few tokens, an empty chunk, frozen slots", 128, 64, false, {{3, 1}, {0, 2}, {4, 0}, {1, 19, true}}},
              {"the first layer", 128, 64, true, {{1, 34}, {0, 257}}},
              {"states in f16", 64, 32, false, {{3, 1}, {0, 18}, {1, 19, true}}, 600, {}, {}, kF16}});
}

TEST_CASE("long chunks: sixteen tokens at a time, on subgroup matrices") {
  // Where there are none it needs no memory, and is not taken.
  for (const auto& gpu : test::gpus()) {
    const bool has_form = kernels::has_time_mix_form(gpu->device, kernels::TimeMixForm::wy, 128, 64, 1);
    CHECK((kernels::time_mix_block_bytes(gpu->device, 128, 64, 512) > 0) == has_form);
    CHECK(!kernels::has_time_mix_form(gpu->device, kernels::TimeMixForm::wy, 128, 32, 1));
  }
  check_form(kernels::TimeMixForm::wy,
             {{"around the ends of a block", 128, 64, false, {{0, 15}, {1, 16}, {5, 17}, {3, 31}, {4, 33}, {2, 48}}},
              {"few tokens, an empty chunk, frozen slots", 128, 64, false, {{3, 1}, {0, 2}, {4, 0}, {1, 19, true}}},
              {"the first layer", 128, 64, true, {{1, 34}, {0, 257}}},
              {"many heads", 256, 64, false, {{0, 64}, {3, 65}, {1, 129}, {2, 256}}},
              {"states in f16", 64, 64, false, {{3, 1}, {0, 18}, {1, 19, true}}, 600, {}, {}, kF16}});
}

TEST_CASE("f16 states: what is too large becomes the largest, ties go away from zero, NaN stays") {
  for (const auto& gpu : test::gpus()) {
    // A token that only adds v k^T: nothing is there, and nothing is removed.
    const Case op{"extremes", 16, 16, true, {{0, 1}}, 600, {}, {}, kF16};
    Data data = make_data(*gpu, op);
    std::fill(data.wkv_state.begin(), data.wkv_state.end(), 0.0f);
    std::fill(data.vectors.begin(), data.vectors.end(), 0.0f);  // kk is 0, k as it is
    const float k[] = {400, 3, 1, 0.25f}, v[] = {400, -400, 683, 1, -65504, 1};
    std::copy_n(k, std::size(k), data.r_k_v.begin() + 16);
    std::copy_n(v, std::size(v), data.r_k_v.begin() + 32);
    data.wkv_state[5 * 16] = NAN;
    const std::vector<float> states = run(*gpu, op, data).wkv_state;
    INFO(gpu->name());
    const auto row = [&](size_t i) { return std::vector(&states[16 * i], &states[16 * i + 4]); };
    CHECK(row(0) == std::vector<float>{65504, 1200, 400, 100});
    CHECK(row(1) == std::vector<float>{-65504, -1200, -400, -100});
    CHECK(row(2) == std::vector<float>{65504, 2050, 683, 170.75f});
    CHECK(row(3) == std::vector<float>{400, 3, 1, 0.25f});
    CHECK(row(4) == std::vector<float>{-65504, -65504, -65504, -16376});
    CHECK(std::isnan(row(5)[0]));
  }
}

TEST_CASE("the form that was tuned for a size is taken for it, and for no other") {
  kernels::Tuning tuning;
  tuning.time_mixes[{128, 64, 1, 8}] = {kernels::TimeMixForm::pairs};
  for (const auto& gpu : test::gpus()) {
    if (!gpu->half() || !kernels::has_time_mix_form(gpu->device, kernels::TimeMixForm::pairs, 128, 64, 1)) continue;
    Case op{"tuned", 128, 64, false, {{1, 7}}};
    op.tuning = &tuning;
    check_case(*gpu, op);
    CHECK(run(*gpu, op, make_data(*gpu, op)).n_dispatches == 2);  // the form `pairs` has a norm of its own
    op.chunks = {{1, 3}};
    CHECK(run(*gpu, op, make_data(*gpu, op)).n_dispatches == 1);
  }
}

TEST_CASE("a head without keys keeps its norm finite") {
  for (const auto& gpu : test::gpus()) {
    const Case op{"k is 0", 16, 16, true, {{0, 2}}};
    Data data = make_data(*gpu, op);
    std::fill_n(data.r_k_v.begin() + 32, 32, 0.0f);
    const Result result = run(*gpu, op, data);
    CHECK(std::all_of(result.gated.begin(), result.gated.end(), [](float value) { return std::isfinite(value); }));
    CHECK(std::all_of(result.wkv_state.begin(), result.wkv_state.end(),
                      [](float value) { return std::isfinite(value); }));
  }
}

TEST_CASE("a sequence has the same bits alone, beside others and in pieces") {
  constexpr uint32_t kWidth = 32;
  const auto tokens = [](const std::vector<float>& from, uint32_t n_planes, uint32_t n_tokens, uint32_t first,
                         uint32_t count) {
    return test::tokens_of(from, {n_planes, 600, n_tokens, kWidth}, first, count);
  };
  for (const auto& gpu : test::gpus()) {
    for (const uint32_t length : test::kLengths) {
      INFO(gpu->name(), ", ", length, " tokens");
      const Case alone{"alone", kWidth, 16, false, {{0, length}}};
      const Data data = make_data(*gpu, alone);
      const Result whole = run(*gpu, alone, data);

      // The same tokens once more as the second of two sequences of a step.
      const Case beside{"beside another", kWidth, 16, false, {{1, 3}, {0, length}}};
      Data more = make_data(*gpu, beside);
      more.vectors = data.vectors;
      const auto overwrite = [&](std::vector<float>& to, const std::vector<float>& from) {
        const size_t n_planes = from.size() / (length * kWidth);
        for (size_t plane = 0; plane < n_planes; ++plane) {
          std::copy_n(from.begin() + ptrdiff_t(plane * length * kWidth), length * kWidth,
                      to.begin() + ptrdiff_t((plane * (length + 3) + 3) * kWidth));
        }
      };
      overwrite(more.r_k_v, data.r_k_v);
      overwrite(more.up, data.up);
      overwrite(more.v_first, data.v_first);
      std::copy(data.wkv_state.begin(), data.wkv_state.end(), more.wkv_state.begin());
      const Result among = run(*gpu, beside, more);
      CHECK(test::same(tokens(among.gated, 1, length + 3, 3, length), whole.gated));
      CHECK(test::same(std::span(among.wkv_state).first(whole.wkv_state.size()), whole.wkv_state));

      for (const std::vector<uint32_t>& split : test::splits_of(length)) {
        INFO("first ", split[0]);
        std::vector<float> state = data.wkv_state;
        uint32_t first = 0;
        for (const uint32_t count : split) {
          const Data piece{tokens(data.r_k_v, 3, length, first, count), tokens(data.up, 4, length, first, count),
                           tokens(data.v_first, 1, length, first, count), data.vectors, state};
          const Result part = run(*gpu, {"piece", kWidth, 16, false, {{0, count}}}, piece);
          CHECK(test::same(part.gated, tokens(whole.gated, 1, length, first, count)));
          state = part.wkv_state;
          first += count;
        }
        CHECK(test::same(state, whole.wkv_state));
      }
    }
  }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("slow");

TEST_CASE("time mix: heads of other sizes") { check_heads({32, 128}); }

TEST_CASE("time mix: every form with heads of other sizes, and so many that a workgroup takes a whole one") {
  std::vector<SequenceChunk> many;
  for (uint32_t slot = 0; slot < 150; ++slot) many.push_back({slot, 1 + slot % 3, slot % 9 == 2});
  const std::vector<Case> cases = {{"many heads", 64, 64, false, many},
                                   {"states in f16", 64, 64, false, many, 600, {}, {}, kF16},
                                   {"a quad to an invocation", 96, 32, false, {{1, 18}, {0, 1}}}};
  check_form(kernels::TimeMixForm::tokens, cases);
  check_form(kernels::TimeMixForm::pairs, cases);
  check_form(kernels::TimeMixForm::tokens, {{"a quad to a row", 12, 4, false, {{1, 2}, {0, 1}}},
                                            {"fewer quads than neighbours", 48, 16, true, {{1, 2}, {0, 1}}},
                                            {"more quads than neighbours", 256, 128, false, {{1, 2}, {0, 17}}}});
}

TEST_CASE("time mix: in two parts, with what was read between them in memory") {
  Case op{"in parts", 128, 64, false, {{2, 3}, {5, 0}, {0, 1}, {3, 40}, {1, 4, true}}};
  op.in_parts = true;
  for (const auto& gpu : test::gpus()) {
    check_case(*gpu, op);
    op.first_layer = true;
  }
  using kernels::TimeMixForm;
  for (const TimeMixForm form : {TimeMixForm::tokens, TimeMixForm::pairs, TimeMixForm::wy}) check_form(form, {op});
}

TEST_CASE("time mix: f16 states of rows that stay in registers") {
  for (const auto& gpu : test::gpus()) {
    Case op{"states in f16", 128, 64, false, {{2, 3}, {0, 1}, {3, 40}}, 600, gpu->half() ? 4u : 1u, {}, kF16};
    check_case(*gpu, op);
  }
}

TEST_SUITE_END();
