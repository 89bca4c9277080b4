// tests/model/demo_test.cpp: the demo model, which every clone has, against the CPU reference on its decoded weights.
#include <algorithm>

#include "model/rwkv7_ref.hpp"
#include "model/support.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

// The reference takes a tenth of a second a token. "Once upon a time", then a few tokens as decoding meets them.
constexpr size_t kTokens = 20;

/// In one step and in steps of one token after a few: both kernels of a product.
void check_demo(Tier tier) {
  const auto device = open_device(tier);
  if (!device) return;
  GpuModel loaded(*device, demo_model());
  const rwkv7::Reference reference(loaded.source);
  const Prompt prompt = golden_prompts().front();
  Ids ids = prompt.ids;
  ids.insert(ids.end(), prompt.greedy_ids.begin(), prompt.greedy_ids.end());
  ids.resize(kTokens);
  rwkv7::RefState state(reference.config());
  const std::vector<float> expected = reference.forward(ids, state);
  const rwkv7::HostState expected_state{state.time_shift, state.wkv, state.channel_shift};

  std::vector<size_t> lengths(kTokens - 3, 1);
  lengths.front() = 4;
  for (const std::vector<size_t>& steps : {std::vector<size_t>{kTokens}, lengths}) {
    loaded.model.reset_slot(0);
    const std::vector<float> logits = feed(loaded.model, 0, ids, steps, Outputs::all);
    const float difference = max_difference(logits, expected);
    const double of_state = state_difference(loaded.model.states().read(0), expected_state, reference.config().n_layer);
    CHECK(difference <= bounds_of(tier).logits);
    CHECK(of_state <= bounds_of(tier).states);
    MESSAGE(fmt::format("{} demo, {} steps: logits {:.2g}, states {:.2g}", gpu::name(tier), steps.size(), difference,
                        of_state));
  }
}

/// What a step does without outputs: nothing that only logits would need.
void check_for_state(Tier tier) {
  const auto device = open_device(tier, true);
  if (!device) return;
  GpuModel loaded(*device, demo_model());
  const Ids ids = golden_prompts().front().ids;
  submit(loaded.model, {{0, ids, Outputs::last}, {1, ids, Outputs::last}});
  submit(loaded.model, {{2, ids, Outputs::none}, {3, ids, Outputs::none}});
  CHECK(same_bits(loaded.model.states().read(2), loaded.model.states().read(0)));
  // And so does what is fed next.
  CHECK(same_bits(run(loaded.model, {{2, ids}}), run(loaded.model, {{0, ids}})));

  const uint32_t last = loaded.model.config().n_layer - 1;
  for (const bool outputs : {false, true}) {
    kernels::StepInput input(loaded.model.tokens_max());
    input.add_chunk({0, ids});
    if (outputs) input.add_output({input.n_tokens() - 1, 0});
    StepProfile profile;
    loaded.model.profile(input, profile);
    const auto has = [&](const std::string& label) {
      return std::ranges::any_of(profile.dispatches, [&](const auto& one) { return one.label.starts_with(label); });
    };
    CHECK(has(fmt::format("L{:02}.channel_mix.token_shift", last)));
    CHECK(has(fmt::format("L{:02}.channel_mix.key", last - 1)));
    CHECK(has(fmt::format("L{:02}.channel_mix.key", last)) == outputs);
    CHECK(has("head") == outputs);
  }
}

}  // namespace

TEST_SUITE("demo") {
  TEST_CASE("a step for its state alone leaves out what logits would need") { check_for_state(Tier::t1); }
  TEST_CASE("the demo model agrees with the CPU reference on T0") { check_demo(Tier::t0); }
  TEST_CASE("the demo model agrees with the CPU reference on T1") { check_demo(Tier::t1); }
}

TEST_SUITE("t2") {
  TEST_CASE("the demo model agrees with the CPU reference on T2") { check_demo(Tier::t2); }
}
