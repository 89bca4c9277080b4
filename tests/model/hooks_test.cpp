// tests/model/hooks_test.cpp: what hooks read and what becomes of what they write, against the CPU reference.
#include <cmath>
#include <map>
#include <stdexcept>

#include "model/support.hpp"
#include "support/files.hpp"
#include "support/random_model.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

/// Of T2: heads of the size that all forms of the time mix know. Else as small as can be: software compiles slowly.
RandomModelOptions model_options(Tier tier) {
  RandomModelOptions options;
  if (tier < Tier::t2) return options;
  options.n_embd = 128;
  options.head_size = 64;
  options.n_ffn = 256;
  return options;
}

constexpr uint32_t kSlots[] = {2, 0};
constexpr size_t kSteps = 2;

/// Two texts in two steps: together, then one of them alone with a token.
struct Texts {
  Texts(uint32_t n_vocab, size_t n_first)
      : lengths{{n_first, 3}, {1, 0}}, ids{some_ids(n_first + 1, n_vocab, 1), some_ids(3, n_vocab, 2)} {}
  size_t lengths[kSteps][2];
  Ids ids[2];
};

/// From empty texts; the logits of each text, one after another.
std::vector<float> run_steps(rwkv7::Model& model, const Texts& texts) {
  std::vector<float> logits[2];
  size_t at[2] = {};
  for (const uint32_t slot : kSlots) model.reset_slot(slot);
  for (const auto& lengths : texts.lengths) {
    std::vector<Part> parts;
    for (size_t i = 0; i < 2; ++i)
      parts.push_back({kSlots[i], std::span(texts.ids[i]).subspan(at[i], lengths[i]), Outputs::all});
    const std::vector<float> found = run(model, parts);
    auto begin = found.begin();
    for (size_t i = 0; i < 2; ++i) {
      const auto end = begin + ptrdiff_t(lengths[i] * model.config().n_vocab);
      logits[i].insert(logits[i].end(), begin, end);
      begin = end;
      at[i] += lengths[i];
    }
  }
  logits[0].insert(logits[0].end(), logits[1].begin(), logits[1].end());
  return logits[0];
}

std::vector<float> expected_of(const rwkv7::Reference& reference, const Texts& texts) {
  std::vector<float> logits;
  for (const Ids& ids : texts.ids) {
    rwkv7::RefState state(reference.config());
    const std::vector<float> of_text = reference.forward(ids, state);
    logits.insert(logits.end(), of_text.begin(), of_text.end());
  }
  return logits;
}

/// Rows by text, point, half and layer.
using Seen = std::map<std::tuple<uint32_t, HookPoint, LayerHalf, uint32_t>, std::vector<float>>;

void note(Seen& seen, const HookCall& call) {
  CHECK(call.values.size() == size_t(call.n_tokens) * call.n_values);
  uint32_t n_rows = 0;
  for (const HookRows& rows : call.rows) {
    CHECK(rows.first == n_rows);
    n_rows += rows.count;
    std::vector<float>& kept = seen[{rows.session, call.point, call.half, call.layer}];
    for (uint32_t i = 0; i < rows.count; ++i) {
      const auto row = call.row(rows.first + i);
      kept.insert(kept.end(), row.begin(), row.end());
    }
  }
  CHECK(n_rows == call.n_tokens);
}

double relative_difference(std::span<const float> found, std::span<const float> expected) {
  return layer_difference(found, expected, 1);
}

/// Every value of every token, as the reference has it.
void check_reading(GpuModel& loaded, rwkv7::Reference& reference, const Texts& texts, double bound) {
  Seen found, expected;
  loaded.model.set_hook(Hook{[&](const HookCall& call) { note(found, call); }, {}, {}});
  run_steps(loaded.model, texts);
  for (size_t i = 0; i < 2; ++i) {
    reference.set_hook([&](const HookCall& call) {
      const HookRows row{kSlots[i], 0, 1};
      HookCall of_text = call;
      of_text.rows = {&row, 1};
      note(expected, of_text);
    });
    rwkv7::RefState state(reference.config());
    reference.forward(texts.ids[i], state);
  }
  reference.set_hook({});
  // Two points come twice in a layer.
  CHECK(found.size() == 2 * reference.config().n_layer * (kHookPointCount + 2));
  REQUIRE(found.size() == expected.size());
  double worst = 0;
  for (const auto& [key, values] : expected) {
    const auto& [slot, point, half, layer] = key;
    CAPTURE(std::string(name(point)));
    CAPTURE(layer);
    REQUIRE(found.contains(key));
    const double difference = relative_difference(found.at(key), values);
    CHECK(difference <= bound);
    worst = std::max(worst, difference);
  }
  MESSAGE(fmt::format("values {:.2g}", worst));
}

/// A hook that leaves all as it was leaves all as it is without one, in every bit; so it does where all is written
/// back, as far as the host computes what the GPU does.
void check_effect_of_none(GpuModel& loaded, const Texts& texts, bool exact) {
  loaded.model.set_hook({});
  const std::vector<float> plain = run_steps(loaded.model, texts);
  const rwkv7::HostState state = loaded.model.states().read(kSlots[0]);
  const Hook reads{[](const HookCall&) {}, {}, {}};
  loaded.model.set_hook(reads);
  CHECK(same_bits(run_steps(loaded.model, texts), plain));
  CHECK(same_bits(loaded.model.states().read(kSlots[0]), state));
  loaded.model.set_hook(reads, rwkv7::HookWrites::all);
  const std::vector<float> written = run_steps(loaded.model, texts);
  if (exact)
    CHECK(same_bits(written, plain));
  else
    CHECK(max_difference(written, plain) <= kFastBounds.logits);
  loaded.model.set_hook({});
}

/// What a hook does to a value: something else to each element, and to the same in every step.
void change(const HookCall& call) {
  const float step = call.point == HookPoint::w ? 0.8f : 0.1f;  // of which the decay makes little
  for (size_t i = 0; i < call.values.size(); ++i)
    call.values[i] = 1.25f * call.values[i] + step * (float(i % call.n_values % 5) - 1.5f);
}

/// Each point replaced in turn, in one layer.
void check_replacing(GpuModel& loaded, rwkv7::Reference& reference, const Texts& texts, float bound) {
  const std::vector<float> plain = expected_of(reference, texts);
  for (size_t i = 0; i < kHookPointCount; ++i) {
    const HookPoint point = HookPoint(i);
    const uint32_t layer = i % 2;
    CAPTURE(std::string(name(point)));
    reference.set_hook([&](const HookCall& call) {
      if (call.point == point && call.layer == layer) change(call);
    });
    const std::vector<float> expected = expected_of(reference, texts);
    CHECK(max_difference(expected, plain) > 4 * bound);  // would be seen
    loaded.model.set_hook(Hook{change, {point}, {layer}});
    CHECK(max_difference(run_steps(loaded.model, texts), expected) <= bound);
  }
  reference.set_hook({});
  loaded.model.set_hook({});
}

/// The text of the step is as it was before it, and goes on as if nothing had been.
void check_throwing(GpuModel& loaded, const Texts& texts) {
  loaded.model.reset_slot(2);
  const std::span ids = texts.ids[0];
  run(loaded.model, {{2, ids.first(texts.lengths[0][0]), Outputs::none}});
  const rwkv7::HostState before = loaded.model.states().read(2);
  for (const HookPoint point : {HookPoint::layer_norm, HookPoint::wkv, HookPoint::out}) {
    // Also the state that a call of the hook has changed before.
    const auto call = [point](const HookCall& at) {
      change(at);
      if (at.layer == 1 && at.point == point) throw std::runtime_error("enough");
    };
    loaded.model.set_hook(Hook{call, {}, {}});
    CHECK_THROWS_WITH_AS(submit(loaded.model, {{2, ids.last(1), Outputs::all}}), "enough", std::runtime_error);
    CHECK(loaded.model.take_undone());
    CHECK(!loaded.model.take_undone());
    CHECK(same_bits(loaded.model.states().read(2), before));
  }
  loaded.model.set_hook({});
}

/// Only what was asked for is called, and nothing is left of it.
void check_filter(GpuModel& loaded, const Texts& texts) {
  run_steps(loaded.model, texts);
  const StepCacheUse before = loaded.model.cache_use();
  size_t n_calls = 0;
  const auto call = [&](const HookCall& at) {
    CHECK((at.point == HookPoint::k || at.point == HookPoint::out));
    CHECK(at.layer == 1);
    CHECK(at.half == (at.point == HookPoint::k ? LayerHalf::time_mix : LayerHalf::channel_mix));
    ++n_calls;
  };
  loaded.model.set_hook(Hook{call, {HookPoint::out, HookPoint::k}, {1}});
  run_steps(loaded.model, texts);
  CHECK(n_calls == 2 * kSteps);
  loaded.model.set_hook({});
  run_steps(loaded.model, texts);
  CHECK(n_calls == 2 * kSteps);
  const StepCacheUse after = loaded.model.cache_use();
  CHECK(after.plans.misses == before.plans.misses);
  CHECK(after.plans.hits == before.plans.hits + kSteps);
  CHECK(after.pipelines.misses == before.pipelines.misses);
  CHECK(after.bind_groups.misses == before.bind_groups.misses);
}

/// What is pooled is what the hook leaves.
void check_pooled(GpuModel& loaded, const Texts& texts) {
  const size_t n_embd = loaded.source.config.n_embd;
  std::vector<float> last(n_embd), rows(loaded.model.states().n_slots() * n_embd);
  const auto call = [&](const HookCall& at) {
    change(at);
    std::ranges::copy(at.row(at.n_tokens - 1), last.begin());
  };
  loaded.model.set_hook(Hook{call, {HookPoint::out}, {0}});
  kernels::StepInput input(loaded.model.tokens_max());
  input.add_chunk({1, texts.ids[1], kernels::kBegins});
  loaded.model.launch_pooled(input, {1, kernels::Pooled::last, false});
  loaded.model.take_pooled(rows);
  CHECK(same_bits(std::span(rows).subspan(n_embd, n_embd), last));
  loaded.model.set_hook({});
}

void check_tier(Tier tier, const rwkv7::ModelOptions& options) {
  const auto device = open_device(tier);
  if (!device) return;
  const TemporaryFolder folder;
  write_random_gguf(folder / "model", model_options(tier));
  GpuModel loaded(*device, folder / "model", options);
  rwkv7::Reference reference(loaded.source);
  const Texts texts(loaded.source.config.n_vocab, tier < Tier::t2 ? 5 : 33);
  const Bounds bounds = bounds_of(tier);
  check_reading(loaded, reference, texts, bounds.states);
  const bool exact = tier == Tier::t0 && options.mode == kernels::MatMulMode::exact && device->info().software;
  check_effect_of_none(loaded, texts, exact);
  check_replacing(loaded, reference, texts, bounds.logits);
  check_throwing(loaded, texts);
  check_filter(loaded, texts);
  check_pooled(loaded, texts);
}

}  // namespace

TEST_SUITE("hooks") {
  TEST_CASE("hooks on T0, exact") { check_tier(Tier::t0, exact_options()); }

  TEST_CASE("hooks on T1, where weights come late and states are f16") {
    rwkv7::ModelOptions options;
    options.lazy = true;
    options.states = StateStorage::f16;
    check_tier(Tier::t1, options);
  }
}

TEST_SUITE("t2") {
  TEST_CASE("hooks on T2") { check_tier(Tier::t2, {}); }
}
