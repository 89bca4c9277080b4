// tests/unit/rwkv7_ref_test.cpp: the CPU oracle against other implementations, and against itself over the containers.
#include "model/rwkv7_ref.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "support/files.hpp"
#include "support/npy.hpp"
#include "support/random_model.hpp"
#include "support/shared_data.hpp"

using namespace ravenwing;
using rwkv7::Reference;
using rwkv7::RefState;

namespace {

// fp32 PyTorch against our double sums: RWKV-LM's own two implementations differ by 8e-6 in logits.
constexpr float kLogitError = 2e-4f;
constexpr double kStateError = 1e-4;

// A token costs 25 million multiplications, a second's tenth and more under the sanitizers; the GPU's tests run the
// rest.
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kPromptTokensMax = 10;
#else
constexpr size_t kPromptTokensMax = 50;
#endif

struct Prompt {
  std::string name;
  std::vector<uint32_t> ids;
  std::vector<std::pair<uint32_t, float>> top20;
};

std::vector<Prompt> read_prompts() {
  std::ifstream in(test::golden_folder() / "prompts.json");
  std::vector<Prompt> prompts;
  for (const nlohmann::json& item : nlohmann::json::parse(in)) {
    prompts.push_back({item["name"], item["ids"], item["top20"]});
  }
  return prompts;
}

/// The difference's Frobenius norm over that of `expected`, of one layer of [n_layer, ...].
double relative_error(const std::vector<float>& found, const std::vector<float>& expected, size_t layer,
                      size_t n_layer) {
  REQUIRE(found.size() == expected.size());
  const size_t n = found.size() / n_layer;
  double difference = 0, norm = 0;
  for (size_t i = layer * n; i < (layer + 1) * n; ++i) {
    difference += (double(found[i]) - expected[i]) * (double(found[i]) - expected[i]);
    norm += double(expected[i]) * expected[i];
  }
  return std::sqrt(difference / norm);
}

void check_state(const RefState& state, const std::filesystem::path& folder, const std::string& name, size_t n_layer) {
  const std::vector<float> wkv = test::read_npy(folder / (name + ".wkv.npy")).values;
  const std::vector<float> time_shift = test::read_npy(folder / (name + ".att_shift.npy")).values;
  const std::vector<float> channel_shift = test::read_npy(folder / (name + ".ffn_shift.npy")).values;
  for (size_t layer = 0; layer < n_layer; ++layer) {
    CAPTURE(layer);
    CHECK(relative_error(state.wkv, wkv, layer, n_layer) <= kStateError);
    CHECK(relative_error(state.time_shift, time_shift, layer, n_layer) <= kStateError);
    CHECK(relative_error(state.channel_shift, channel_shift, layer, n_layer) <= kStateError);
  }
}

float max_difference(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    REQUIRE(std::isfinite(a[i]));
    largest = std::max(largest, std::abs(a[i] - b[i]));
  }
  return largest;
}

struct LoadedModel {
  explicit LoadedModel(const std::filesystem::path& path)
      : file(format::ModelFile::open(path)), reference(rwkv7::read_model_source(file)) {}
  format::ModelFile file;
  Reference reference;
};

std::vector<float> run(const Reference& reference, std::span<const uint32_t> ids) {
  RefState state(reference.config());
  return reference.forward(ids, state);
}

}  // namespace

TEST_CASE("the reference gives the logits and states of PyTorch on the trained model") {
  const auto shared = test::shared_data();
  if (!shared) return;
  const LoadedModel model(*shared / "models/tiny/tiny-rwkv7.safetensors");
  const size_t n_vocab = model.reference.config().n_vocab;
  for (const Prompt& prompt : read_prompts()) {
    if (prompt.ids.size() > kPromptTokensMax) continue;
    CAPTURE(prompt.name);
    RefState state(model.reference.config());
    const std::vector<float> all = model.reference.forward(prompt.ids, state);
    const std::span<const float> logits(all.data() + all.size() - n_vocab, n_vocab);
    for (const auto& [id, expected] : prompt.top20) CHECK(std::abs(logits[id] - expected) <= kLogitError);
    const std::filesystem::path whole = test::golden_folder() / (prompt.name + ".logits.npy");
    if (std::filesystem::exists(whole)) CHECK(max_difference(logits, test::read_npy(whole).values) <= kLogitError);
    check_state(state, *shared / "golden", prompt.name, model.reference.config().n_layer);
  }
}

TEST_CASE("the demo model, quantised, stays near the logits of its F16 weights") {
  const LoadedModel model(std::filesystem::path(RAVENWING_SOURCE_DIR) / "models/demo/tiny-rwkv7-Q4_K_M.gguf");
  const Prompt prompt = read_prompts().front();
  REQUIRE(prompt.name == "short");
  const std::vector<float> all = run(model.reference, prompt.ids);
  const std::vector<float> expected = test::read_npy(test::golden_folder() / "short.logits.npy").values;
  const std::span<const float> logits(all.data() + all.size() - expected.size(), expected.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(double(logits[i]) - expected[i], 2);
    norm += std::pow(double(expected[i]), 2);
  }
  // Q4_K_M moves the logits of this prompt by 5 % of their norm; any wrong tensor moves them by far more than 100 %.
  CHECK(std::sqrt(difference / norm) < 0.1);
}

TEST_CASE("both containers of the same weights give the same logits, bit for bit") {
  const test::TemporaryFolder folder;
  for (const format::WeightFormat plain :
       {format::WeightFormat::f32, format::WeightFormat::f16, format::WeightFormat::bf16}) {
    test::RandomModelOptions options;
    options.n_layer = 3;
    options.matrices = options.head = options.emb = options.low_rank = plain;
    test::write_random_gguf(folder / "a.gguf", options);
    test::write_random_safetensors(folder / "a.safetensors", options);
    const LoadedModel gguf(folder / "a.gguf"), safetensors(folder / "a.safetensors");
    CHECK(gguf.reference.config() == safetensors.reference.config());
    const std::vector<uint32_t> ids = {1, 299, 0, 42};
    const std::vector<float> logits = run(gguf.reference, ids);
    REQUIRE(logits.size() == ids.size() * options.n_vocab);
    CHECK(std::all_of(logits.begin(), logits.end(), [](float value) { return std::isfinite(value); }));
    CHECK(logits == run(safetensors.reference, ids));
  }
}

TEST_CASE("random models of every format and odd shapes stay sane") {
  const test::TemporaryFolder folder;
  for (const format::WeightFormat format : format::kWeightFormats) {
    CAPTURE(info(format).name);
    const uint32_t unit = std::max(32u, info(format).block_weights);
    test::RandomModelOptions options;
    options.n_layer = 2;
    options.n_embd = options.n_ffn = unit;
    options.head_size = 32;
    options.rank_w = options.rank_a = options.rank_v = options.rank_g = unit;
    options.matrices = options.head = options.emb = options.low_rank = format;
    test::write_random_gguf(folder / "a.gguf", options);
    const LoadedModel model(folder / "a.gguf");
    const std::vector<float> logits = run(model.reference, std::vector<uint32_t>{5, 6, 7});
    double sum_of_squares = 0;
    for (const float value : logits) sum_of_squares += double(value) * value;
    const double deviation = std::sqrt(sum_of_squares / double(logits.size()));
    CHECK(deviation > 0.3);
    CHECK(deviation < 3);
  }
}

TEST_CASE("a text in pieces gives the same logits and state as in one go") {
  const test::TemporaryFolder folder;
  test::write_random_gguf(folder / "a.gguf", {});
  const LoadedModel model(folder / "a.gguf");
  const std::vector<uint32_t> ids = {10, 20, 30, 40, 50};
  RefState whole(model.reference.config()), pieces(model.reference.config());
  const std::vector<float> expected = model.reference.forward(ids, whole);
  std::vector<float> found = model.reference.forward(std::span(ids).first(2), pieces);
  const std::vector<float> rest = model.reference.forward(std::span(ids).subspan(2), pieces);
  found.insert(found.end(), rest.begin(), rest.end());
  CHECK(found == expected);
  CHECK(pieces.wkv == whole.wkv);
  CHECK(pieces.time_shift == whole.time_shift);
  CHECK(pieces.channel_shift == whole.channel_shift);
  CHECK(std::any_of(whole.wkv.begin(), whole.wkv.end(), [](float value) { return value != 0; }));
}

TEST_CASE("weights rounded to f16 are those of a model in f16, and others of a quantised one") {
  const test::TemporaryFolder folder;
  const std::vector<uint32_t> ids = {10, 20, 30};
  const auto is_changed = [&](format::WeightFormat matrices) {
    test::RandomModelOptions options;
    options.matrices = matrices;
    test::write_random_gguf(folder / "a.gguf", options);
    const auto file = format::ModelFile::open(folder / "a.gguf");
    const auto source = rwkv7::read_model_source(file);
    const Reference plain(source), rounded(source, rwkv7::WeightRounding::f16);
    RefState plain_state(source.config), rounded_state(source.config);
    return plain.forward(ids, plain_state) != rounded.forward(ids, rounded_state);
  };
  CHECK_FALSE(is_changed(format::WeightFormat::f16));
  CHECK(is_changed(format::WeightFormat::q8_0));
}

TEST_CASE("a token outside the vocabulary is refused") {
  const test::TemporaryFolder folder;
  test::write_random_gguf(folder / "a.gguf", {});
  const LoadedModel model(folder / "a.gguf");
  RefState state(model.reference.config());
  CHECK_THROWS_AS(model.reference.forward(std::vector<uint32_t>{300}, state), Error);
}

TEST_CASE("npy files survive writing and reading") {
  const test::TemporaryFolder folder;
  for (const test::Array& array : {test::Array{{2, 3}, {1, 2, 3, 4, 5, 6}}, test::Array{{4}, {1, -2, 0.5f, 8}}}) {
    test::write_npy(folder / "a.npy", array);
    const test::Array read = test::read_npy(folder / "a.npy");
    CHECK(read.shape == array.shape);
    CHECK(read.values == array.values);
  }
}
