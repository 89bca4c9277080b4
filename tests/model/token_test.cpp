// tests/model/token_test.cpp: the kernel that takes one token through all layers, against the reference.
#include <cmath>

#include "kernels/matmul.hpp"
#include "model/rwkv7_ref.hpp"
#include "model/support.hpp"
#include "support/files.hpp"
#include "support/random_model.hpp"
#include "support/refusal.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

using format::WeightFormat;
using kernels::TokenUse;

/// Two heads at least, rows of whole blocks of any format and of odd numbers of spans.
RandomModelOptions model_of(WeightFormat matrices, WeightFormat head) {
  RandomModelOptions options;
  options.n_embd = 256;
  options.head_size = 64;
  options.n_ffn = 768;
  options.n_vocab = 302;
  options.rank_w = 24, options.rank_a = 32, options.rank_v = 8, options.rank_g = 40;
  options.matrices = options.emb = matrices;
  options.head = head;
  options.low_rank = WeightFormat::f16;
  return options;
}

rwkv7::ModelOptions options_of(TokenUse use, uint32_t n_workgroups) {
  rwkv7::ModelOptions options;
  options.token = use;
  options.token_workgroups = n_workgroups;
  return options;
}

/// The products of single tokens have sums of eight products in f16.
constexpr float kLogitsBound = 0.02f;
constexpr double kStatesBound = 5e-3;

/// Single tokens at the beginning, after a step of several and in another slot than the first.
void check_token(GpuModel& loaded, TokenUse use) {
  REQUIRE(loaded.model.token_use() == use);
  const rwkv7::Reference reference(loaded.source);
  const rwkv7::Config& config = reference.config();
  const Ids ids = some_ids(12, config.n_vocab);
  const std::vector<size_t> steps = {1, 1, 1, 5, 1, 1, 1, 1};
  rwkv7::RefState state(config);
  const std::vector<float> expected = expected_in_steps(reference, ids, steps, loaded.model.states().storage(), state);
  loaded.model.reset_slot(2);
  const std::vector<float> found = feed(loaded.model, 2, ids, steps, Outputs::all);
  double squares = 0;
  for (const float logit : expected) squares += double(logit) * logit;
  const double deviation = std::sqrt(squares / double(expected.size()));
  const double of_logits = max_difference(found, expected) / deviation;
  const double of_states = state_difference(loaded.model.states().read(2),
                                            {state.time_shift, state.wkv, state.channel_shift}, config.n_layer);
  CHECK(of_logits <= kLogitsBound);
  CHECK(of_states <= kStatesBound);
  MESSAGE(fmt::format("logits {:.2g}, states {:.2g}", of_logits, of_states));
}

/// With a hook, a token takes the kernels that can stop; without, its own again.
void check_hooked(GpuModel& loaded) {
  const Ids id = some_ids(1, loaded.source.config.n_vocab);
  const std::vector<float> plain = feed_new(loaded.model, 0, id);
  uint32_t n_calls = 0;
  loaded.model.set_hook(Hook{[&](const HookCall& call) { n_calls += call.n_tokens; }, {HookPoint::gate}, {}});
  CHECK(max_difference(feed_new(loaded.model, 0, id), plain) <= kFastBounds.logits);
  CHECK(n_calls == loaded.source.config.n_layer);
  loaded.model.set_hook({});
  CHECK(same_bits(feed_new(loaded.model, 0, id), plain));
  CHECK(n_calls == loaded.source.config.n_layer);
}

void check_formats(Tier tier, std::span<const WeightFormat> formats, TokenUse use, uint32_t n_workgroups,
                   WeightFormat head = WeightFormat::q6_k) {
  const auto device = open_device(tier);
  if (!device) return;
  const TemporaryFolder folder;
  for (const WeightFormat format : formats) {
    CAPTURE(info(format).name);
    write_random_gguf(folder / "model", model_of(format, head));
    GpuModel loaded(*device, folder / "model", options_of(use, n_workgroups));
    check_token(loaded, use);
  }
}

Ids repeated(const Ids& ids, size_t n) {
  Ids result;
  while (result.size() < n) result.insert(result.end(), ids.begin(), ids.end());
  result.resize(n);
  return result;
}

}  // namespace

// All on the demo model, for the sake of software Vulkan, which takes half a minute to compile the kernel for a shape.
TEST_SUITE("token") {
  TEST_CASE("a token stage by stage agrees with the reference") {
    const auto device = open_device(Tier::t1);
    if (!device) return;
    GpuModel loaded(*device, demo_model(), options_of(TokenUse::stages, 13));
    check_token(loaded, TokenUse::stages);
    check_hooked(loaded);
  }

  TEST_CASE("what a token's step leaves is the same without logits, and a frozen slot stays") {
    const auto device = open_device(Tier::t1);
    if (!device) return;
    GpuModel loaded(*device, demo_model(), options_of(TokenUse::stages, 13));
    REQUIRE(loaded.model.token_use() == TokenUse::stages);
    rwkv7::Model& model = loaded.model;
    const Ids ids = some_ids(4, model.config().n_vocab);
    for (const uint32_t slot : {0u, 1u}) model.reset_slot(slot);
    feed(model, 0, ids, {1, 1, 1, 1}, Outputs::all);
    feed(model, 1, ids, {1, 1, 1, 1}, Outputs::none);
    const rwkv7::HostState before = model.states().read(1);
    CHECK(same_bits(model.states().read(0), before));
    kernels::ControlBlock block;
    block.frozen = uint32_t(kernels::Frozen::stop);
    model.states().write_control(1, block);
    feed(model, 1, ids, {1, 1, 1, 1}, Outputs::none);
    CHECK(same_bits(model.states().read(1), before));
  }

  TEST_CASE("steps that share a submit, or take several, are the same steps") {
    const auto device = open_device(Tier::t1);
    if (!device) return;
    GpuModel loaded(*device, demo_model(), options_of(TokenUse::stages, 13));
    rwkv7::Model& model = loaded.model;
    const Ids begin = {1}, feedback = {kernels::kFeedback};
    constexpr uint32_t kSteps = 5;
    const auto start = [&](uint32_t slot) {
      kernels::ControlBlock block;
      block.limit = 1 + kSteps;
      model.reset_slot(slot);
      model.states().write_control(slot, block);
      submit(model, {{slot, begin, Outputs::last, true}});
    };
    start(0);
    Ids expected;
    for (uint32_t i = 0; i < kSteps; ++i) {
      submit(model, {{0, feedback, Outputs::last, true}});
      expected.push_back(model.read_sampled().at(0).id);
    }
    const rwkv7::HostState state = model.states().read(0);
    kernels::StepInput input(model.tokens_max());
    input.add_chunk({1, feedback});
    input.add_output({0, 1, true});
    for (const SubmitShape shape : {SubmitShape{}, {.steps = 2}, {.dispatches = 5}}) {
      CAPTURE(shape.steps);
      CAPTURE(shape.dispatches);
      start(1);
      const rwkv7::Replay replay = model.replay(input, shape, kSteps);
      Ids found;
      for (const rwkv7::Sampled& sampled : replay.sampled) found.push_back(sampled.id);
      CHECK(found == expected);
      CHECK(same_bits(model.states().read(1), state));
      CHECK(replay.us > 0);
    }
  }

  TEST_CASE("workgroups that do not run at a time are an error, and the next text goes stage by stage") {
    const auto device = open_device(Tier::t1);
    if (!device) return;
    // More than run at a time: software has some for each processor.
    const uint32_t n_workgroups = device->info().software ? 40 : 3000;
    GpuModel loaded(*device, demo_model(), options_of(TokenUse::whole, n_workgroups));
    REQUIRE(loaded.model.token_use() == TokenUse::whole);
    const Ids ids = some_ids(1, loaded.model.config().n_vocab);
    CHECK_THROWS_WITH_AS(feed_new(loaded.model, 0, ids), doctest::Contains("at a time"), Error);
    check_token(loaded, TokenUse::stages);
  }

  TEST_CASE("a token whose weights and states take several bindings") {
    const auto device = open_device(Tier::t1);
    if (!device) return;
    GpuModel one(*device, demo_model(), options_of(TokenUse::stages, 13));
    // Two layers to an arena of weights.
    rwkv7::ModelOptions options = options_of(TokenUse::stages, 13);
    options.placement.arena_bytes_max = 6 << 20;
    GpuModel several(*device, demo_model(), options);
    REQUIRE(several.model.token_use() == TokenUse::stages);
    const Ids ids = some_ids(3, one.model.config().n_vocab);
    for (GpuModel* model : {&one, &several}) model->model.reset_slot(0);
    CHECK(same_bits(feed(several.model, 0, ids, {1, 1, 1}, Outputs::all),
                    feed(one.model, 0, ids, {1, 1, 1}, Outputs::all)));
    CHECK(same_bits(several.model.states().read(0), one.model.states().read(0)));
  }

  TEST_CASE("not on T0, not in exact mode, not for low-rank matrices that are no whole octets") {
    if (const auto device = open_device(Tier::t0)) {
      GpuModel loaded(*device, demo_model(), options_of(TokenUse::stages, 13));
      CHECK(loaded.model.token_use() == TokenUse::none);
    }
    const auto device = open_device(Tier::t1);
    if (!device) return;
    rwkv7::ModelOptions exact = options_of(TokenUse::stages, 13);
    exact.mode = kernels::MatMulMode::exact;
    CHECK(GpuModel(*device, demo_model(), exact).model.token_use() == TokenUse::none);
    RandomModelOptions odd = model_of(WeightFormat::f16, WeightFormat::f16);
    odd.rank_v = 5;
    const TemporaryFolder folder;
    write_random_gguf(folder / "model", odd);
    CHECK(GpuModel(*device, folder / "model", options_of(TokenUse::stages, 13)).model.token_use() == TokenUse::none);
  }
}

TEST_SUITE("token_slow") {
  TEST_CASE("a token stage by stage agrees with the reference, states in f16") {
    const auto device = open_device(Tier::t1);
    if (!device) return;
    rwkv7::ModelOptions options = options_of(TokenUse::stages, 13);
    options.states = StateStorage::f16;
    GpuModel loaded(*device, demo_model(), options);
    check_token(loaded, TokenUse::stages);
  }

  TEST_CASE("a token stage by stage agrees with the reference, every format") {
    check_formats(Tier::t1, format::kWeightFormats, TokenUse::stages, 13);
  }

  TEST_CASE("a token stage by stage agrees with the reference, a head that ends within eight rows that lie together") {
    constexpr WeightFormat kFormats[] = {WeightFormat::q5_k};
    check_formats(Tier::t1, kFormats, TokenUse::stages, 13, WeightFormat::q4_k);
  }
}

// Where as many workgroups run at a time as a stage has products: on GPUs.
TEST_SUITE("t2") {
  TEST_CASE("a token in one dispatch agrees with the reference") {
    constexpr WeightFormat kFormats[] = {WeightFormat::q4_k, WeightFormat::q8_0, WeightFormat::f16};
    check_formats(Tier::t2, kFormats, TokenUse::whole, 0);
    check_formats(Tier::t2, kFormats, TokenUse::whole, 0, WeightFormat::q4_k);
  }

  TEST_CASE("a token in one dispatch agrees with the reference, states in f16") {
    const auto device = open_device(Tier::t2);
    if (!device) return;
    rwkv7::ModelOptions options = options_of(TokenUse::whole, 0);
    options.states = StateStorage::f16;
    GpuModel loaded(*device, demo_model(), options);
    check_token(loaded, TokenUse::whole);
  }

  TEST_CASE("a token in one dispatch has the bits that it has stage by stage, a thousand times") {
    const auto device = open_device(Tier::t2);
    if (!device) return;
    GpuModel whole(*device, demo_model(), options_of(TokenUse::whole, 64));
    GpuModel stages(*device, demo_model(), options_of(TokenUse::stages, 64));
    const Ids ids = repeated(some_ids(100, whole.model.config().n_vocab), 1000);
    const std::vector<size_t> ones(ids.size(), 1);
    for (GpuModel* model : {&whole, &stages}) model->model.reset_slot(0);
    CHECK(same_bits(feed(whole.model, 0, ids, ones, Outputs::all), feed(stages.model, 0, ids, ones, Outputs::all)));
    CHECK(same_bits(whole.model.states().read(0), stages.model.states().read(0)));
  }
}
