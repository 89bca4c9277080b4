// src/model/rwkv7_miniature.cpp: the shape of a miniature, and the formats of its layers.
#include "model/rwkv7_miniature.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace ravenwing::rwkv7 {
namespace {

using format::WeightFormat;

/// As narrow as the largest blocks let it be, so that the CPU's part takes some ten milliseconds.
constexpr uint32_t kEmbd = 256, kFfn = 512, kVocab = 320, kRank = 32;
constexpr size_t kLayersMin = 2;  // the first has no value residual
constexpr size_t kLayersMax = 6;

WeightFormat format_of(const MatrixSource& matrix) { return matrix ? matrix.tensor->format : WeightFormat::f16; }

/// Rows of a low-rank pair are shorter than the largest blocks.
WeightFormat low_rank_format(const MatrixSource& matrix) {
  const WeightFormat found = format_of(matrix);
  return kRank % format::info(found).block_weights == 0 ? found : WeightFormat::f16;
}

LayerFormats formats_of(const LayerSource& layer) {
  return {.receptance = format_of(layer.receptance),
          .key = format_of(layer.key),
          .value = format_of(layer.value),
          .output = format_of(layer.output),
          .ffn_key = format_of(layer.ffn_key),
          .ffn_value = format_of(layer.ffn_value),
          .w = low_rank_format(layer.w.down),
          .a = low_rank_format(layer.a.down),
          .v = low_rank_format(layer.v.down ? layer.v.down : layer.a.down),
          .g = low_rank_format(layer.g.down)};
}

SyntheticSpec spec_of(const ModelSource& like) {
  SyntheticSpec spec{.name = "self-test",
                     .n_embd = kEmbd,
                     .n_ffn = kFfn,
                     .n_vocab = kVocab,
                     .rank_w = kRank,
                     .rank_a = kRank,
                     .rank_v = kRank,
                     .rank_g = kRank,
                     .emb = format_of(like.emb),
                     .head = format_of(like.head),
                     .layers = {}};
  for (const LayerSource& layer : like.layers) {
    const LayerFormats formats = formats_of(layer);
    const bool known = std::find(spec.layers.begin(), spec.layers.end(), formats) != spec.layers.end();
    if (!known && spec.layers.size() < kLayersMax) spec.layers.push_back(formats);
  }
  spec.n_layer = uint32_t(std::max(spec.layers.size(), kLayersMin));
  return spec;
}

}  // namespace

Miniature::Miniature(const ModelSource& like)
    : descriptor_{make_synthetic_file(spec_of(like))},
      file_(format::ModelFile::open(fmt::format("/proc/self/fd/{}", descriptor_.number), MappedFile::Access::read)),
      source_(read_model_source(file_)) {}

Miniature::Descriptor::~Descriptor() { close(number); }

std::string miniature_formats(const ModelSource& like) {
  const SyntheticSpec spec = spec_of(like);
  const auto name = [](WeightFormat format) { return format::info(format).name; };
  std::string text = fmt::format("{} {}", name(spec.emb), name(spec.head));
  for (const LayerFormats& layer : spec.layers) {
    text += ',';
    for (WeightFormat LayerFormats::*const matrix : kLargeMatrices) text += fmt::format(" {}", name(layer.*matrix));
    for (WeightFormat LayerFormats::*const pair : kLowRankPairs) text += fmt::format(" {}", name(layer.*pair));
  }
  return text;
}

}  // namespace ravenwing::rwkv7
