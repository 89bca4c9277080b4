// tests/model/states_f16_test.cpp: wkv states that lie in memory as f16, against the CPU reference that rounds
// likewise, and what they cost against states in f32. The whole text: docs/design/2026-11-21-states-f16.md.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "model/support.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

/// Nats a token between f16 and f32; measured 0.0001 at most (tokens one by one, 32 to 4 096 of them).
constexpr double kNatsBound = 3e-4;
/// Of few tokens; measured 0.0003 over 24 of them (H200).
constexpr double kNatsBoundFew = 1e-3;
/// Relative difference of the wkv states of a layer after 512 tokens one by one; measured 0.002. Truncated ones have
/// 0.05.
constexpr double kStatesBound = 6e-3;

rwkv7::ModelOptions options_of(StateStorage storage) {
  rwkv7::ModelOptions options;
  options.states = storage;
  return options;
}

/// A rounding that another order of sums turns round moves an element by a unit of f16, some elements of all.
Bounds f16_bounds(Tier tier) {
  const Bounds bounds = bounds_of(tier);
  return {bounds.logits + 2e-3f, bounds.states + 4e-4};
}

/// In steps of few tokens and of one, and in one step.
void check_reference(Tier tier) {
  const auto device = open_device(tier);
  if (!device) return;
  GpuModel loaded(*device, demo_model(), options_of(StateStorage::f16));
  const rwkv7::Reference reference(loaded.source);
  const uint32_t n_layer = reference.config().n_layer;
  const Ids ids = golden_prompts().front().greedy_ids;
  REQUIRE(ids.size() >= 10);
  for (const std::vector<size_t>& steps : {std::vector<size_t>{10}, {3, 1, 1, 1, 2, 1, 1}}) {
    rwkv7::RefState state(reference.config());
    const auto text = std::span(ids).first(10);
    const std::vector<float> expected = expected_in_steps(reference, text, steps, StateStorage::f16, state);
    loaded.model.reset_slot(1);
    const float of_logits = max_difference(feed(loaded.model, 1, text, steps, Outputs::all), expected);
    const rwkv7::HostState found = loaded.model.states().read(1);
    const double of_states = state_difference(found, {state.time_shift, state.wkv, state.channel_shift}, n_layer);
    CHECK(of_logits <= f16_bounds(tier).logits);
    CHECK(of_states <= f16_bounds(tier).states);
    MESSAGE(fmt::format("{} f16 states, {} steps: logits {:.2g}, states {:.2g}", gpu::name(tier), steps.size(),
                        of_logits, of_states));
    // What was read is what lies there: writing it back changes nothing.
    loaded.model.states().write(2, found);
    CHECK(same_bits(loaded.model.states().read(2), found));
  }
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}

void check_fidelity(Tier tier, size_t n_tokens, const std::vector<size_t>& steps) {
  const auto device = open_device(tier);
  if (!device) return;
  GpuModel exact(*device, demo_model()), rounded(*device, demo_model(), options_of(StateStorage::f16));
  const Ids all = validation_ids();
  const auto ids = std::span(all).first(n_tokens);
  for (const size_t step : steps) {
    const double expected = mean(likelihoods(exact.model, ids, step));
    const double found = mean(likelihoods(rounded.model, ids, step));
    const double of_states = layer_difference(rounded.model.states().read(0).wkv, exact.model.states().read(0).wkv,
                                              exact.source.config.n_layer);
    CAPTURE(step);
    CHECK(std::abs(found - expected) <= (n_tokens < 512 ? kNatsBoundFew : kNatsBound));
    CHECK(of_states > 0);
    if (n_tokens <= 512) CHECK(of_states <= kStatesBound);
    MESSAGE(fmt::format("{} {} tokens in steps of {}: {:.6f} nats a token, states in f32 {:.6f}, {:+.6f}; wkv {:.2g}",
                        gpu::name(tier), n_tokens, step, found, expected, found - expected, of_states));
  }
}

/// Software, which takes hours for it, scores the beginning of the text.
void check_long_fidelity(Tier tier) {
  const auto device = open_device(tier);
  if (!device) return;
  check_fidelity(tier, 512, {512, 8, 1});
  if (!device->info().software) check_fidelity(tier, 4096, {512, 8, 1});
}

}  // namespace

// In the suite whose shaders are nearly all of theirs.
TEST_SUITE("demo") {
  TEST_CASE("f16 states cost next to nothing on T1") { check_fidelity(Tier::t1, 24, {1}); }
}

TEST_SUITE("golden_slow") {
  TEST_CASE("f16 states are those of the reference on T0") { check_reference(Tier::t0); }
  TEST_CASE("f16 states are those of the reference on T1") { check_reference(Tier::t1); }
  TEST_CASE("f16 states cost next to nothing, tokens one by one, on T1") { check_long_fidelity(Tier::t1); }
}

TEST_SUITE("t2") {
  TEST_CASE("f16 states are those of the reference on T2") { check_reference(Tier::t2); }
  TEST_CASE("f16 states cost next to nothing on T2") { check_long_fidelity(Tier::t2); }
}
