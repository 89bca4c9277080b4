// tests/model/mixed_test.cpp: several sequences in a step, their slots, what freezes them, and what they sample.
#include <algorithm>
#include <cmath>

#include "base/bytes.hpp"
#include "base/half.hpp"
#include "model/support.hpp"
#include "support/files.hpp"
#include "support/random_model.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

const Ids kFeedbackIds = {kernels::kFeedback};

struct SmallModel {
  explicit SmallModel(Tier tier, kernels::MatMulMode mode = kernels::MatMulMode::fast)
      : SmallModel(tier, mode, random_gguf(shape())) {}
  SmallModel(Tier tier, kernels::MatMulMode mode, const GgufWriter& writer) : device(open_device(tier)) {
    if (!device) return;
    write_file(folder / "model", writer.bytes());
    rwkv7::ModelOptions options;
    options.mode = mode;
    options.n_slots = 6;
    loaded = std::make_unique<GpuModel>(*device, folder / "model", options);
  }
  static RandomModelOptions shape() {
    RandomModelOptions options;
    options.n_embd = 128;
    options.head_size = 64;
    return options;
  }
  explicit operator bool() const { return loaded != nullptr; }
  rwkv7::Model* operator->() { return &loaded->model; }
  rwkv7::Model& model() { return loaded->model; }

  TemporaryFolder folder;
  std::unique_ptr<gpu::Device> device;
  std::unique_ptr<GpuModel> loaded;
};

/// Three sequences that begin at different steps: prefill beside decode.
void check_mixed_steps(Tier tier) {
  SmallModel small(tier);
  if (!small) return;
  // [sequence][step]: tokens
  const std::vector<std::vector<size_t>> lengths = {{37, 1, 1, 1}, {0, 120, 1, 5}, {1, 1, 60, 1}};
  std::vector<Ids> ids;
  std::vector<size_t> fed(lengths.size());
  for (uint32_t i = 0; i < lengths.size(); ++i) ids.push_back(some_ids(130, small->config().n_vocab, 3 + i));
  std::vector<std::vector<float>> last(lengths.size());
  const uint32_t n_vocab = small->config().n_vocab;
  for (size_t step = 0; step < 4; ++step) {
    std::vector<Part> parts;
    for (uint32_t i = 0; i < lengths.size(); ++i) {
      parts.push_back({4 - i, std::span(ids[i]).subspan(fed[i], lengths[i][step])});
      fed[i] += lengths[i][step];
    }
    const std::vector<float> logits = run(small.model(), parts);
    size_t row = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].ids.empty()) continue;
      const auto own = std::span(logits).subspan(row++ * n_vocab, n_vocab);
      last[i].assign(own.begin(), own.end());
    }
    CHECK(logits.size() == row * n_vocab);
  }
  for (uint32_t i = 0; i < lengths.size(); ++i) {
    CAPTURE(i);
    const std::vector<float> alone = feed_new(small.model(), 0, std::span(ids[i]).first(fed[i]));
    CHECK(max_difference(last[i], alone) <= kFastBounds.logits);
    CHECK(state_difference(small->states().read(4 - i), small->states().read(0), small->config().n_layer) <=
          kFastBounds.states);
  }
}

/// A state that no text gives: every number its own.
rwkv7::HostState numbered_state(const rwkv7::Config& config, float scale) {
  rwkv7::HostState state;
  const size_t n = size_t(config.n_layer) * config.n_embd;
  const auto fill = [&](std::vector<float>& values, size_t count, float first) {
    values.resize(count);
    for (size_t i = 0; i < count; ++i) values[i] = scale * (first + float(i));
  };
  fill(state.time_shift, n, 1);
  fill(state.channel_shift, n, 1 + float(n));
  fill(state.wkv, n * config.head_size, 1 + 2 * float(n));
  return state;
}

void check_slots(Tier tier) {
  SmallModel small(tier, kernels::MatMulMode::exact);
  if (!small) return;
  rwkv7::StateArenas& states = small->states();
  const rwkv7::HostState one = numbered_state(small->config(), 0.5f), two = numbered_state(small->config(), -0.25f);
  states.write(0, one);
  states.write(5, two);
  CHECK(same_bits(states.read(0), one));
  CHECK(same_bits(states.read(5), two));
  states.copy(5, 1);
  CHECK(same_bits(states.read(1), two));
  CHECK(same_bits(states.read(0), one));
  small->reset_slot(5);
  CHECK(same_bits(states.read(5), numbered_state(small->config(), 0)));
  CHECK(same_bits(states.read(1), two));

  // A copied state goes on as the original does, and each by itself.
  const Ids ids = some_ids(30, small->config().n_vocab);
  feed_new(small.model(), 2, ids);
  states.copy(2, 3);
  states.write(4, states.read(2));
  const std::vector<float> original = run(small.model(), {{2, ids}});
  CHECK(same_bits(run(small.model(), {{3, ids}}), original));
  CHECK(same_bits(run(small.model(), {{4, ids}}), original));
  CHECK(same_bits(states.read(3), states.read(2)));
  CHECK(same_bits(states.read(0), one));
}

kernels::ControlBlock control(uint32_t limit, float temperature = 0) {
  kernels::ControlBlock block;
  block.limit = limit;
  block.temperature = temperature;
  block.top_p = 0.9f;
  return block;
}

/// A stop token freezes its slot; steps that come after leave it, and no other, as it was.
void check_frozen(Tier tier) {
  SmallModel small(tier);
  if (!small) return;
  const Ids ids = some_ids(20, small->config().n_vocab);
  const std::vector<float> logits = feed_new(small.model(), 0, ids);
  const auto best = uint32_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
  kernels::ControlBlock stopping = control(100);
  stopping.n_stop = 2;
  stopping.stop[0] = best + 1;
  stopping.stop[1] = best;
  for (const uint32_t slot : {0, 1}) small->reset_slot(slot);
  small->states().write_control(0, stopping);
  small->states().write_control(1, control(3));
  submit(small.model(), {{0, ids, Outputs::last, true}, {1, ids, Outputs::last, true}});
  std::vector<rwkv7::Sampled> sampled = small->read_sampled();
  REQUIRE(sampled.size() == 2);
  CHECK(sampled[0].id == best);
  CHECK(sampled[0].frozen == kernels::Frozen::stop);
  CHECK(sampled[1].id == best);
  CHECK(sampled[1].frozen == kernels::Frozen::no);

  const rwkv7::HostState at_stop = small->states().read(0);
  CHECK(same_bits(small->states().read(1), at_stop));
  const std::vector<Part> both = {{0, kFeedbackIds, Outputs::last, true}, {1, kFeedbackIds, Outputs::last, true}};
  for (const kernels::Frozen expected : {kernels::Frozen::no, kernels::Frozen::limit}) {
    submit(small.model(), both);
    sampled = small->read_sampled();
    CHECK(sampled[0].id == kernels::kNoToken);
    CHECK(sampled[0].frozen == kernels::Frozen::stop);
    CHECK(sampled[1].id < small->config().n_vocab);
    CHECK(sampled[1].frozen == expected);
  }
  CHECK(same_bits(small->states().read(0), at_stop));
  const rwkv7::HostState at_limit = small->states().read(1);
  CHECK_FALSE(same_bits(at_limit, at_stop));
  submit(small.model(), both);
  CHECK(same_bits(small->states().read(1), at_limit));
  CHECK(small->states().read_control(1).n_generated == 3);
  CHECK(small->states().read_control(0).n_generated == 1);
  CHECK(small->states().read_control(0).next_token == best);
}

/// What slots 0, 1, ... sample after their prompts in `n` steps, all slots in each step.
std::vector<Ids> sample_together(rwkv7::Model& model, uint32_t first_slot, const std::vector<Ids>& prompts,
                                 const std::vector<kernels::ControlBlock>& controls, size_t n) {
  std::vector<Part> parts;
  for (uint32_t i = 0; i < prompts.size(); ++i) {
    model.reset_slot(first_slot + i);
    model.states().write_control(first_slot + i, controls[i]);
    parts.push_back({first_slot + i, prompts[i], Outputs::last, true});
  }
  std::vector<Ids> result(prompts.size());
  for (size_t step = 0; step < n; ++step) {
    submit(model, parts);
    const std::vector<rwkv7::Sampled> sampled = model.read_sampled();
    for (size_t i = 0; i < parts.size(); ++i) {
      result[i].push_back(sampled[i].id);
      parts[i].ids = kFeedbackIds;
    }
  }
  return result;
}

void check_seeds(Tier tier) {
  SmallModel small(tier, kernels::MatMulMode::exact);
  if (!small) return;
  constexpr size_t kSteps = 8;
  std::vector<Ids> prompts;
  std::vector<kernels::ControlBlock> controls;
  for (uint32_t i = 0; i < 4; ++i) {
    prompts.push_back(some_ids(3 + 11 * i, small->config().n_vocab, i));
    controls.push_back(control(100, 1.0f));
    controls.back().seed[0] = 42 + i;
    controls.back().sequence = 7;
  }
  // The last two differ in nothing but the sequence.
  prompts[3] = prompts[2];
  controls[3] = controls[2];
  controls[3].sequence = 8;
  const std::vector<Ids> together = sample_together(small.model(), 0, prompts, controls, kSteps);
  for (uint32_t i = 0; i < prompts.size(); ++i) {
    CAPTURE(i);
    CHECK(sample_together(small.model(), 5 - i, {prompts[i]}, {controls[i]}, kSteps).front() == together[i]);
  }
  CHECK(together[2] != together[3]);
}

/// The first weight of a tensor of f16 becomes NaN.
GgufWriter with_nan(const std::string& tensor) {
  GgufWriter writer = random_gguf(SmallModel::shape());
  const uint16_t nan = 0x7e00;
  std::memcpy(writer.tensor(tensor).data.data(), &nan, sizeof(nan));
  return writer;
}

void check_numerical(Tier tier) {
  for (const std::string tensor : {"output.weight", "blk.1.time_mix_key.weight", "blk.0.channel_mix_value.weight"}) {
    CAPTURE(tensor);
    SmallModel small(tier, kernels::MatMulMode::fast, with_nan(tensor));
    if (!small) return;
    const Ids ids = some_ids(5, small->config().n_vocab);
    for (const float temperature : {0.0f, 1.0f}) {
      small->reset_slot(0);
      small->states().write_control(0, control(10, temperature));
      submit(small.model(), {{0, ids, Outputs::last, true}});
      REQUIRE(small->read_sampled().size() == 1);
      CHECK(small->read_sampled()[0].id == kernels::kNoToken);
      CHECK(small->read_sampled()[0].frozen == kernels::Frozen::numerical);
      CHECK(small->states().read_control(0).frozen == uint32_t(kernels::Frozen::numerical));
    }
  }
}

/// A sequence whose state is beyond numbers is frozen; its neighbours in the step never notice.
void check_numerical_neighbour(Tier tier) {
  SmallModel small(tier, kernels::MatMulMode::exact);
  if (!small) return;
  const Ids ids = some_ids(5, small->config().n_vocab);
  const std::vector<float> alone = feed_new(small.model(), 2, ids);
  rwkv7::HostState spoilt = numbered_state(small->config(), 0);
  spoilt.wkv.assign(spoilt.wkv.size(), std::nanf(""));
  for (const uint32_t slot : {0, 1}) {
    small->reset_slot(slot);
    small->states().write_control(slot, control(10));
  }
  small->states().write(0, spoilt);
  const std::vector<float> logits = run(small.model(), {{0, ids, Outputs::last, true}, {1, ids, Outputs::last, true}});
  CHECK(same_bits(std::span(logits).last(alone.size()), alone));
  const std::vector<rwkv7::Sampled> sampled = small->read_sampled();
  CHECK(sampled[0].frozen == kernels::Frozen::numerical);
  CHECK(sampled[1].frozen == kernels::Frozen::no);
  CHECK(same_bits(small->states().read(1), small->states().read(2)));
}

}  // namespace

TEST_SUITE("mixed") {
  TEST_CASE("sequences of different lengths in one step are as if alone") {
    for (const Tier tier : {Tier::t0, Tier::t1}) check_mixed_steps(tier);
  }
  TEST_CASE("a slot's state is written, read, copied and reset to the bit") {
    for (const Tier tier : {Tier::t0, Tier::t1}) check_slots(tier);
  }
  TEST_CASE("a frozen slot keeps its state while others go on") {
    for (const Tier tier : {Tier::t0, Tier::t1}) check_frozen(tier);
  }
  TEST_CASE("what a seed samples does not depend on the batch") {
    for (const Tier tier : {Tier::t0, Tier::t1}) check_seeds(tier);
  }
  TEST_CASE("logits that are not finite freeze the slot") {
    for (const Tier tier : {Tier::t0, Tier::t1}) check_numerical(tier);
  }
  TEST_CASE("a spoilt sequence does not spoil its neighbours") {
    for (const Tier tier : {Tier::t0, Tier::t1}) check_numerical_neighbour(tier);
  }
}

TEST_SUITE("t2") {
  TEST_CASE("mixed steps, slots, frozen slots and seeds on T2") {
    check_mixed_steps(Tier::t2);
    check_slots(Tier::t2);
    check_frozen(Tier::t2);
    check_seeds(Tier::t2);
    check_numerical(Tier::t2);
    check_numerical_neighbour(Tier::t2);
  }
}
