// tests/model/exact_test.cpp: exact mode gives the same bits alone, in any batch and under any chunking; fast mode
// agrees with it.
#include <algorithm>
#include <bit>
#include <map>
#include <numeric>

#include "kernels/matmul.hpp"
#include "model/runner.hpp"
#include "model/support.hpp"
#include "support/files.hpp"
#include "support/random_model.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

using format::WeightFormat;

/// What a sequence leaves behind.
struct Outcome {
  std::vector<float> logits;  // after each token
  rwkv7::HostState state;
};

Outcome outcome_of(rwkv7::Model& model, uint32_t slot, std::span<const uint32_t> ids,
                   const std::vector<size_t>& lengths) {
  model.reset_slot(slot);
  std::vector<float> logits = feed(model, slot, ids, lengths, Outputs::all);
  return {std::move(logits), model.states().read(slot)};
}

void check_same(const Outcome& found, const Outcome& expected) {
  CHECK(max_difference(found.logits, found.logits) == 0);  // finite
  CHECK(same_bits(found.logits, expected.logits));
  CHECK(same_bits(found.state, expected.state));
}

/// Texts of these lengths, beginnings of one text, each in one step.
std::map<size_t, Outcome> wholes(rwkv7::Model& model, std::span<const uint32_t> ids,
                                 const std::vector<size_t>& lengths) {
  std::map<size_t, Outcome> result;
  for (const size_t length : lengths) result[length] = outcome_of(model, 0, ids.first(length), {length});
  // What follows a token does not touch its logits.
  const std::vector<float>& longest = result.rbegin()->second.logits;
  for (const auto& [length, outcome] : result)
    CHECK(same_bits(outcome.logits, std::span(longest).first(outcome.logits.size())));
  return result;
}

/// The text in pieces: each of `cuts` adds up to one of `lengths`.
void check_cuts(rwkv7::Model& model, const std::vector<size_t>& lengths, const std::vector<std::vector<size_t>>& cuts) {
  const Ids ids = some_ids(*std::max_element(lengths.begin(), lengths.end()), model.config().n_vocab);
  const std::map<size_t, Outcome> whole = wholes(model, ids, lengths);
  for (const std::vector<size_t>& pieces : cuts) {
    CAPTURE(pieces.size());
    CAPTURE(pieces.front());
    const size_t length = std::accumulate(pieces.begin(), pieces.end(), size_t(0));
    check_same(outcome_of(model, 1, std::span(ids).first(length), pieces), whole.at(length));
  }
  // Logits of one row alone are those of the row among all.
  const auto& [length, outcome] = *whole.begin();
  CHECK(same_bits(feed_new(model, 2, std::span(ids).first(length)),
                  std::span(outcome.logits).last(model.config().n_vocab)));
}

/// Sequences of these lengths in one step, twice running, against each by itself.
void check_batch(rwkv7::Model& model, const std::vector<size_t>& lengths, const std::vector<size_t>& then) {
  const uint32_t n_vocab = model.config().n_vocab;
  REQUIRE(lengths.size() == then.size());
  REQUIRE(lengths.size() < model.states().n_slots());
  std::vector<Ids> ids;
  for (uint32_t slot = 0; slot < lengths.size(); ++slot) {
    model.reset_slot(slot);
    ids.push_back(some_ids(lengths[slot] + then[slot], n_vocab, 10 + slot));
  }
  std::vector<std::vector<float>> logits(lengths.size());
  for (const bool second : {false, true}) {
    std::vector<Part> parts;
    for (uint32_t slot = 0; slot < lengths.size(); ++slot) {
      const std::span<const uint32_t> all(ids[slot]);
      parts.push_back({slot, second ? all.subspan(lengths[slot]) : all.first(lengths[slot]), Outputs::all});
    }
    std::vector<float> found = run(model, parts);
    size_t at = 0;
    for (const Part& part : parts) {
      const std::span<float> own = std::span(found).subspan(at, part.ids.size() * n_vocab);
      logits[part.slot].insert(logits[part.slot].end(), own.begin(), own.end());
      at += own.size();
    }
    REQUIRE(at == found.size());
  }
  const auto alone = uint32_t(lengths.size());
  for (uint32_t slot = 0; slot < lengths.size(); ++slot) {
    CAPTURE(slot);
    const Outcome expected = outcome_of(model, alone, ids[slot], {ids[slot].size()});
    check_same({logits[slot], model.states().read(slot)}, expected);
  }
}

/// Two heads of the size that trained models have.
RandomModelOptions small_model(WeightFormat format) {
  RandomModelOptions options;
  options.n_embd = 128;
  options.head_size = 64;
  options.n_ffn = 256;
  options.matrices = options.head = options.emb = options.low_rank = format;
  return options;
}

void check_exact(Tier tier) {
  const auto device = open_device(tier);
  if (!device) return;
  const TemporaryFolder folder;
  write_random_gguf(folder / "model", small_model(WeightFormat::f16));
  rwkv7::ModelOptions options = exact_options();
  options.n_slots = 8;
  GpuModel loaded(*device, folder / "model", options);
  check_cuts(loaded.model, {1, 19, 255, 256, 257, 512},
             {std::vector<size_t>(19, 1),
              {254, 1},
              {1, 255},
              {100, 157},
              {256, 1},
              {1, 254, 257},
              {511, 1},
              {3, 1, 60, 2, 190, 256}});
  check_batch(loaded.model, {1, 255, 0, 256}, {1, 1, 3, 1});
  check_batch(loaded.model, {257, 17, 3, 40, 1}, {0, 20, 1, 1, 60});
}

/// Feeds a text in steps of at most `step` tokens; logits of the last one, and the state.
std::pair<std::vector<float>, State> feed_runner(Runner& runner, std::span<const uint32_t> ids, uint32_t step) {
  kernels::StepInput input(runner.tokens_max());
  runner.reset_slot(0);
  for (; !ids.empty(); ids = ids.subspan(std::min<size_t>(step, ids.size()))) {
    const auto some = ids.first(std::min<size_t>(step, ids.size()));
    input.clear();
    input.add_chunk({0, some});
    input.add_output({uint32_t(some.size()) - 1, 0, false});
    runner.submit(input);
  }
  return {runner.read_logits(), runner.read_state(0)};
}

/// A chunk of more than 512 tokens, against steps of 512 in the usual working memory.
void check_large_chunk(Tier tier) {
  if (!open_device(tier)) return;
  const TemporaryFolder folder;
  write_random_gguf(folder / "model", small_model(WeightFormat::f16));
  format::ModelFile file = format::ModelFile::open(folder / "model");
  const rwkv7::ModelSource source = rwkv7::read_model_source(file);
  EngineOptions options;
  options.tier = gpu::name(tier);
  options.exact = true;
  options.max_sessions = 1;
  Runner usual(file, source, options);
  options.chunk = 1025;
  Runner large(file, source, options);
  CHECK(usual.tokens_max() == 512);
  CHECK(large.tokens_max() == 2048);
  CHECK(large.outputs_max() == 512);
  const Ids ids = some_ids(EngineOptions::kChunkMax, usual.config().n_vocab);
  for (const size_t length : {size_t(1), size_t(513), ids.size()}) {
    CAPTURE(length);
    const auto some = std::span(ids).first(length);
    const auto [expected, expected_state] = feed_runner(usual, some, 512);
    const auto [found, state] = feed_runner(large, some, 2048);
    CHECK(max_difference(found, found) == 0);  // finite
    CHECK(same_bits(found, expected));
    CHECK(same_bits(state.wkv, expected_state.wkv));
    CHECK(same_bits(state.time_shift, expected_state.time_shift));
    CHECK(same_bits(state.channel_shift, expected_state.channel_shift));
  }
}

void check_exact_demo(Tier tier) {
  const auto device = open_device(tier);
  if (!device) return;
  rwkv7::ModelOptions options = exact_options();
  options.n_slots = 5;
  GpuModel loaded(*device, demo_model(), options);
  check_cuts(loaded.model, {3, 17}, {{1, 9, 7}, {1, 1, 1}});
  check_batch(loaded.model, {5, 0, 9, 1}, {1, 3, 1, 1});
}

/// Whether a step of `n_tokens` is one of matmul_tile on T2: plans are made for powers of two.
bool takes_tiles(size_t n_tokens) { return std::bit_ceil(n_tokens) >= kernels::kMatMulTileColumnsMin; }

/// Every number of tokens that takes another kernel, and those between.
void check_fast(Tier tier, WeightFormat format) {
  const auto device = open_device(tier);
  if (!device) return;
  RandomModelOptions shape = small_model(format);
  shape.n_embd = shape.n_ffn = 256;  // blocks of K-quants
  shape.rank_w = shape.rank_a = shape.rank_v = shape.rank_g = info(format).block_weights == 1 ? 24 : 256;
  const TemporaryFolder folder;
  const GgufWriter model = random_gguf(shape);
  write_file(folder / "model", model.bytes());
  GpuModel fast(*device, folder / "model"), exact(*device, folder / "model", exact_options());
  // The products of T2 have weights of f16, which by itself may move a logit by 0.009.
  write_file(folder / "rounded", with_f16_products(model).bytes());
  GpuModel exact_of_tiles(*device, folder / "rounded", exact_options());
  std::vector<size_t> counts(20);
  std::iota(counts.begin(), counts.end(), 1);
  counts.insert(counts.end(), {64, 512});
  const Ids ids = some_ids(512, shape.n_vocab);
  float logits = 0;
  double states = 0;
  for (const size_t count : counts) {
    CAPTURE(count);
    const auto some = std::span(ids).first(count);
    rwkv7::Model& expected = tier == Tier::t2 && takes_tiles(count) ? exact_of_tiles.model : exact.model;
    const float of_logits =
        max_difference(feed_new(fast.model, 0, some, Outputs::all), feed_new(expected, 0, some, Outputs::all));
    const double of_states = state_difference(fast.model.states().read(0), expected.states().read(0), shape.n_layer);
    CHECK(of_logits <= kFastBounds.logits);
    CHECK(of_states <= kFastBounds.states);
    logits = std::max(logits, of_logits);
    states = std::max(states, of_states);
  }
  MESSAGE(fmt::format("{} {} fast against exact: logits {:.2g}, states {:.2g}", gpu::name(tier), info(format).name,
                      logits, states));
}

}  // namespace

TEST_SUITE("exact") {
  TEST_CASE("exact mode gives the same bits in any batch and chunking on T0") { check_exact(Tier::t0); }
  TEST_CASE("exact mode gives the same bits in any batch and chunking on T1") { check_exact(Tier::t1); }
  TEST_CASE("exact mode gives the same bits of the demo model on T0") { check_exact_demo(Tier::t0); }
  TEST_CASE("exact mode gives the same bits of the demo model on T1") { check_exact_demo(Tier::t1); }
}

TEST_SUITE("exact_slow") {
  TEST_CASE("exact mode gives the same bits in steps of 2 048 tokens on T1") { check_large_chunk(Tier::t1); }
}

TEST_SUITE("fast") {
  TEST_CASE("fast mode agrees with exact on T0") {
    for (const WeightFormat format : {WeightFormat::f16, WeightFormat::q4_k}) check_fast(Tier::t0, format);
  }
  TEST_CASE("fast mode agrees with exact on T1") {
    for (const WeightFormat format : {WeightFormat::f16, WeightFormat::q4_k}) check_fast(Tier::t1, format);
  }
}

TEST_SUITE("fast_slow") {
  TEST_CASE("fast mode agrees with exact on T0, the other formats") {
    for (const WeightFormat format : {WeightFormat::f32, WeightFormat::bf16, WeightFormat::q8_0, WeightFormat::q6_k})
      check_fast(Tier::t0, format);
  }
  TEST_CASE("fast mode agrees with exact on T1, the other formats") {
    for (const WeightFormat format : {WeightFormat::f32, WeightFormat::bf16, WeightFormat::q8_0, WeightFormat::q6_k})
      check_fast(Tier::t1, format);
  }
}

TEST_SUITE("t2") {
  TEST_CASE("exact mode gives the same bits in steps of 2 048 tokens on T2") { check_large_chunk(Tier::t2); }
  TEST_CASE("exact mode gives the same bits in any batch and chunking on T2") { check_exact(Tier::t2); }
  TEST_CASE("fast mode agrees with exact on T2") {
    for (const WeightFormat format : format::kWeightFormats) check_fast(Tier::t2, format);
  }
}
