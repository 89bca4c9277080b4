// tests/model/random_models_test.cpp: models of odd shapes and any mixture of formats against the CPU reference, and
// split over small buffers and bindings against themselves in one piece.
#include <algorithm>
#include <cmath>

#include "model/rwkv7_ref.hpp"
#include "model/support.hpp"
#include "support/files.hpp"
#include "support/random_model.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

using format::WeightFormat;

struct Case {
  std::string why;
  RandomModelOptions shape;
};

// Designated initialisers would leave GCC complaining about what they leave out.
RandomModelOptions shape(uint32_t n_layer, uint32_t n_embd, uint32_t head_size, uint32_t n_ffn) {
  RandomModelOptions options;
  options.n_layer = n_layer;
  options.n_embd = n_embd;
  options.head_size = head_size;
  options.n_ffn = n_ffn;
  return options;
}

RandomModelOptions with_ranks(RandomModelOptions options, uint32_t w, uint32_t a, uint32_t v, uint32_t g) {
  options.rank_w = w;
  options.rank_a = a;
  options.rank_v = v;
  options.rank_g = g;
  return options;
}

RandomModelOptions with_vocabulary(RandomModelOptions options, uint32_t n_vocab) {
  options.n_vocab = n_vocab;
  return options;
}

RandomModelOptions with_formats(RandomModelOptions options, WeightFormat matrices, WeightFormat emb, WeightFormat head,
                                WeightFormat low_rank) {
  options.matrices = matrices;
  options.emb = emb;
  options.head = head;
  options.low_rank = low_rank;
  return options;
}

std::vector<Case> odd_shapes() {
  using enum WeightFormat;
  return {{"one layer has no value residual", shape(1, 64, 64, 128)},
          {"widths that are no power of two", with_vocabulary(with_ranks(shape(2, 192, 64, 200), 5, 24, 33, 7), 257)},
          {"a width that a workgroup does not divide", with_ranks(shape(3, 320, 64, 333), 1, 2, 3, 9)},
          {"F32", with_formats(with_vocabulary(shape(2, 64, 64, 203), 301), f32, f32, f32, f32)},
          {"BF16", with_formats(shape(2, 128, 64, 72), bf16, f16, f32, bf16)},
          {"the World vocabulary and one more", with_vocabulary(shape(1, 64, 64, 64), 65537)}};
}

/// Software Vulkan takes half a minute to minutes to compile the time mix for one head size: CI has that of trained
/// models here, and others in the tests of the kernel.
std::vector<Case> other_heads() {
  using enum WeightFormat;
  return {{"heads of 16", shape(2, 80, 16, 72)},
          {"heads of 32", with_vocabulary(shape(2, 96, 32, 203), 301)},
          {"heads of 128", shape(2, 384, 128, 104)}};
}

std::vector<Case> mixtures() {
  using enum WeightFormat;
  const RandomModelOptions wide = with_ranks(shape(2, 256, 64, 512), 24, 33, 5, 40);
  const RandomModelOptions blocks = with_ranks(shape(2, 192, 64, 160), 32, 64, 32, 96);
  return {{"Q8_0 throughout, low-rank pairs too", with_formats(blocks, q8_0, q8_0, q8_0, q8_0)},
          {"as Q4_K_M files are, Q4_K in Q6_K", with_formats(wide, q4_k, q4_k, q6_k, f32)},
          {"Q6_K under a Q8_0 head", with_formats(wide, q6_k, q6_k, q8_0, f16)},
          {"Q8_0 between floats", with_formats(wide, q8_0, f32, bf16, bf16)},
          {"K-quants as low-rank pairs", with_formats(with_ranks(wide, 256, 256, 256, 256), f16, q6_k, q4_k, q4_k)}};
}

/// Every format of which CI tries the decoding alone, in rows of odd numbers of blocks too.
std::vector<Case> more_formats() {
  using enum WeightFormat;
  const RandomModelOptions wide = with_ranks(shape(2, 256, 64, 768), 24, 33, 5, 40);
  const RandomModelOptions blocks = with_ranks(shape(2, 192, 64, 160), 32, 64, 32, 96);
  return {{"as Q4_0 files are, Q4_0 in Q6_K", with_formats(wide, q4_0, q4_0, q6_k, f32)},
          {"Q4_1 between Q5_0 and Q5_1", with_formats(blocks, q4_1, q5_0, q5_1, f16)},
          {"Q5_0 with Q4_1 as low-rank pairs", with_formats(blocks, q5_0, q4_0, q4_1, q4_1)},
          {"Q5_1 in IQ4_NL", with_formats(blocks, q5_1, iq4_nl, iq4_nl, f32)},
          {"IQ4_NL in Q5_0", with_formats(blocks, iq4_nl, q4_1, q5_0, bf16)},
          {"as Q2_K files are", with_formats(wide, q2_k, q2_k, q6_k, f32)},
          {"Q3_K in Q5_K", with_formats(wide, q3_k, q5_k, q5_k, f16)},
          {"Q5_K in Q3_K", with_formats(wide, q5_k, q3_k, q3_k, f16)},
          {"IQ4_XS in Q2_K", with_formats(wide, iq4_xs, iq4_xs, q2_k, f16)},
          {"Q2_K in IQ4_XS, IQ4_XS as low-rank pairs",
           with_formats(with_ranks(wide, 256, 256, 256, 256), q2_k, q3_k, iq4_xs, iq4_xs)}};
}

// Largest difference of logits over the deviation of the reference's. T0 sums in f32 what the reference sums in double;
// T1 rounds activations to f16.
constexpr float relative_bound(Tier tier) { return tier == Tier::t0 ? 1e-4f : 0.02f; }
// Quantised low-rank pairs are f16 on the GPU.
constexpr float kConvertedBound = 5e-3f;

bool converts_low_rank(const RandomModelOptions& options) { return info(options.low_rank).block_weights > 1; }

float deviation(std::span<const float> values) {
  double squares = 0;
  for (const float value : values) squares += double(value) * value;
  return float(std::sqrt(squares / double(values.size())));
}

/// A step of many tokens, then two of one: steps of two to eight have kernels of their own, which take as long to
/// compile and are tried by tests of kernels and of the demo model.
std::vector<float> forward(rwkv7::Model& model, const Ids& ids) {
  model.reset_slot(0);
  return feed(model, 0, ids, {ids.size() - 2, 1, 1}, Outputs::all);
}

void check_random(Tier tier, const std::vector<Case>& cases) {
  const auto device = open_device(tier);
  if (!device) return;
  const TemporaryFolder folder;
  for (const auto& [why, options] : cases) {
    CAPTURE(why);
    write_random_gguf(folder / "model", options);
    GpuModel loaded(*device, folder / "model");
    // The oracle rounds where the kernels do: most of the text goes through products of f16 on T2.
    const auto rounding = tier == Tier::t2 ? rwkv7::WeightRounding::f16 : rwkv7::WeightRounding::none;
    const rwkv7::Reference reference(loaded.source, rounding);
    const Ids ids = some_ids(23, options.n_vocab);
    rwkv7::RefState state(reference.config());
    const std::vector<float> expected = reference.forward(ids, state);
    const std::vector<float> found = forward(loaded.model, ids);
    const float difference = max_difference(found, expected) / deviation(expected);
    const double of_states = state_difference(loaded.model.states().read(0),
                                              {state.time_shift, state.wkv, state.channel_shift}, options.n_layer);
    const float bound =
        converts_low_rank(options) ? std::max(kConvertedBound, relative_bound(tier)) : relative_bound(tier);
    CHECK(difference <= bound);
    CHECK(of_states <= std::max(bounds_of(tier).states, converts_low_rank(options) ? 2e-3 : 0));
    MESSAGE(fmt::format("{} {}: logits {:.2g}, states {:.2g}", gpu::name(tier), why, difference, of_states));
  }
}

/// The same weights in both containers, which lay some of them out differently.
void check_containers(Tier tier) {
  const auto device = open_device(tier);
  if (!device) return;
  const TemporaryFolder folder;
  for (const auto& [why, options] : odd_shapes()) {
    CAPTURE(why);
    write_random_gguf(folder / "gguf", options);
    write_random_safetensors(folder / "safetensors", options);
    GpuModel gguf(*device, folder / "gguf"), safetensors(*device, folder / "safetensors");
    CHECK(gguf.model.config() == safetensors.model.config());
    const Ids ids = some_ids(12, options.n_vocab);
    CHECK(same_bits(forward(gguf.model, ids), forward(safetensors.model, ids)));
    CHECK(same_bits(gguf.model.states().read(0), safetensors.model.states().read(0)));
  }
}

void check_split(Tier tier, const std::filesystem::path& path, uint64_t binding_bytes_max, uint64_t arena_bytes_max) {
  const auto device = open_device(tier);
  if (!device) return;
  rwkv7::ModelOptions options;
  GpuModel whole(*device, path, options);
  options.binding_bytes_max = binding_bytes_max;
  GpuModel small_bindings(*device, path, options);
  options.placement.arena_bytes_max = arena_bytes_max;
  GpuModel small_arenas(*device, path, options);
  const Ids ids = some_ids(12, whole.model.config().n_vocab);
  const std::vector<float> expected = forward(whole.model, ids);
  for (GpuModel* split : {&small_bindings, &small_arenas}) {
    CHECK(same_bits(forward(split->model, ids), expected));
    CHECK(same_bits(split->model.states().read(0), whole.model.states().read(0)));
  }
}

void check_splits(Tier tier) {
  const TemporaryFolder folder;
  std::vector<Case> cases = mixtures();
  for (const Case& odd : odd_shapes()) {
    if (odd.shape.n_vocab < 1000) cases.push_back(odd);
  }
  for (const auto& [why, options] : cases) {
    CAPTURE(why);
    write_random_gguf(folder / "model", options);
    check_split(tier, folder / "model", 16 << 10, 24 << 10);
  }
  // The limit that the issue of large tensors names, with tensors larger than it.
  check_split(tier, demo_model(), 1 << 20, 3 << 19);
}

/// The part of check_splits that needs no other shaders than the odd shapes: matrices, embedding and head larger than a
/// binding, layers larger than a buffer.
void check_one_split(Tier tier) {
  const TemporaryFolder folder;
  write_random_gguf(folder / "model", odd_shapes().at(1).shape);
  check_split(tier, folder / "model", 16 << 10, 24 << 10);
}

}  // namespace

TEST_SUITE("random_models") {
  TEST_CASE("models of odd shapes agree with the CPU reference on T0") { check_random(Tier::t0, odd_shapes()); }
  TEST_CASE("models of odd shapes agree with the CPU reference on T1") { check_random(Tier::t1, odd_shapes()); }
  TEST_CASE("mixtures of formats agree with the CPU reference on T1") { check_random(Tier::t1, mixtures()); }
  TEST_CASE("RELIABILITY 41: small buffers and bindings without f16 and subgroups give the same bits") {
    check_one_split(Tier::t0);
  }
}

// Each case compiles shaders for minutes on software Vulkan; what lays weights out is the same for both tiers.
TEST_SUITE("random_models_layout") {
  TEST_CASE("both containers give the same bits on T1") { check_containers(Tier::t1); }
  TEST_CASE("small buffers and bindings give the same bits on T0") { check_splits(Tier::t0); }
}

TEST_SUITE("random_models_slow") {
  TEST_CASE("mixtures of formats agree with the CPU reference on T0") { check_random(Tier::t0, mixtures()); }
  TEST_CASE("heads of other sizes agree with the CPU reference on T0") { check_random(Tier::t0, other_heads()); }
  TEST_CASE("heads of other sizes agree with the CPU reference on T1") { check_random(Tier::t1, other_heads()); }
  TEST_CASE("every other format agrees with the CPU reference on T0") { check_random(Tier::t0, more_formats()); }
  TEST_CASE("every other format agrees with the CPU reference on T1") { check_random(Tier::t1, more_formats()); }
  TEST_CASE("both containers give the same bits on T0") { check_containers(Tier::t0); }
  TEST_CASE("small buffers and bindings give the same bits on T1") { check_splits(Tier::t1); }
}

TEST_SUITE("t2") {
  TEST_CASE("models of odd shapes agree with the CPU reference on T2") { check_random(Tier::t2, odd_shapes()); }
  TEST_CASE("mixtures of formats agree with the CPU reference on T2") { check_random(Tier::t2, mixtures()); }
  TEST_CASE("every other format agrees with the CPU reference on T2") { check_random(Tier::t2, more_formats()); }
  TEST_CASE("heads of other sizes agree with the CPU reference on T2") { check_random(Tier::t2, other_heads()); }
}
