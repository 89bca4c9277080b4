// tests/unit/miniature_test.cpp: a miniature has the formats of its model, whatever the model's size.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>

#include "format/weight_format.hpp"
#include "model/rwkv7_miniature.hpp"
#include "model/rwkv7_ref.hpp"

namespace ravenwing::rwkv7 {
namespace {

using format::WeightFormat;

/// A model that lives in memory.
struct Model {
  explicit Model(const SyntheticSpec& spec) : number(make_synthetic_file(spec)) {}
  ~Model() { close(number); }
  int number;
  format::ModelFile file = format::ModelFile::open("/proc/self/fd/" + std::to_string(number));
  ModelSource source = read_model_source(file);
};

SyntheticSpec spec_of(std::vector<LayerFormats> layers) {
  return {.name = "test",
          .n_layer = 7,
          .n_embd = 768,
          .n_ffn = 1024,
          .n_vocab = 500,
          .rank_w = 64,
          .rank_a = 64,
          .rank_v = 64,
          .rank_g = 256,
          .emb = WeightFormat::q5_0,
          .head = WeightFormat::q6_k,
          .layers = std::move(layers)};
}

LayerFormats all_of(WeightFormat format) {
  LayerFormats layer{.w = WeightFormat::f32, .a = WeightFormat::f16, .v = WeightFormat::f16, .g = WeightFormat::f16};
  for (WeightFormat LayerFormats::*const matrix : kLargeMatrices) layer.*matrix = format;
  return layer;
}

TEST_CASE("a miniature has a layer for each combination of formats, and at least two") {
  LayerFormats mixed = all_of(WeightFormat::q4_k);
  mixed.value = mixed.ffn_value = WeightFormat::q6_k;
  const Model model(spec_of({mixed, all_of(WeightFormat::q4_k), all_of(WeightFormat::q8_0)}));
  const Miniature miniature(model.source);
  const ModelSource& source = miniature.source();
  CHECK(source.emb.tensor->format == WeightFormat::q5_0);
  CHECK(source.head.tensor->format == WeightFormat::q6_k);
  REQUIRE(source.layers.size() == 3);
  CHECK(source.layers[0].value.tensor->format == WeightFormat::q6_k);
  CHECK(source.layers[0].key.tensor->format == WeightFormat::q4_k);
  CHECK(source.layers[1].ffn_value.tensor->format == WeightFormat::q4_k);
  CHECK(source.layers[2].output.tensor->format == WeightFormat::q8_0);
  CHECK(source.layers[2].w.up.tensor->format == WeightFormat::f32);
  CHECK(Miniature(Model(spec_of({mixed})).source).source().layers.size() == 2);
  // Whatever has the same miniature has the same text, and nothing else has.
  CHECK(miniature_formats(source) == miniature_formats(model.source));
  CHECK(miniature_formats(source) != miniature_formats(Model(spec_of({mixed})).source));
}

TEST_CASE("a miniature can be made of each weight format, and computes numbers") {
  for (const WeightFormat format : format::kWeightFormats) {
    CAPTURE(format::info(format).name);
    const Miniature miniature(Model(spec_of({all_of(format)})).source);
    RefState state(miniature.source().config);
    const uint32_t ids[] = {1, 2};
    const std::vector<float> logits = Reference(miniature.source()).forward(ids, state);
    const auto [low, high] = std::minmax_element(logits.begin(), logits.end());
    CHECK(*low < -1);
    CHECK(*high > 1);
    CHECK(*high < 100);
  }
}

}  // namespace
}  // namespace ravenwing::rwkv7
