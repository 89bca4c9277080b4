// src/format/weight_format.cpp: what the formats are called and which blocks they have.
#include "format/weight_format.hpp"

#include <array>

#include "base/bytes.hpp"
#include "base/half.hpp"
#include "format/quant_blocks.hpp"

namespace ravenwing::format {
namespace {

// Numbers as in ggml.h, enum ggml_type.
constexpr std::array<std::string_view, 41> kGgmlTypeNames = {"F32",
                                                             "F16",
                                                             "Q4_0",
                                                             "Q4_1",
                                                             "Q4_2 (removed)",
                                                             "Q4_3 (removed)",
                                                             "Q5_0",
                                                             "Q5_1",
                                                             "Q8_0",
                                                             "Q8_1",
                                                             "Q2_K",
                                                             "Q3_K",
                                                             "Q4_K",
                                                             "Q5_K",
                                                             "Q6_K",
                                                             "Q8_K",
                                                             "IQ2_XXS",
                                                             "IQ2_XS",
                                                             "IQ3_XXS",
                                                             "IQ1_S",
                                                             "IQ4_NL",
                                                             "IQ3_S",
                                                             "IQ2_S",
                                                             "IQ4_XS",
                                                             "I8",
                                                             "I16",
                                                             "I32",
                                                             "I64",
                                                             "F64",
                                                             "IQ1_M",
                                                             "BF16",
                                                             "Q4_0_4_4 (removed)",
                                                             "Q4_0_4_8 (removed)",
                                                             "Q4_0_8_8 (removed)",
                                                             "TQ1_0",
                                                             "TQ2_0",
                                                             "IQ4_NL_4_4 (removed)",
                                                             "IQ4_NL_4_8 (removed)",
                                                             "IQ4_NL_8_8 (removed)",
                                                             "MXFP4",
                                                             "NVFP4"};

struct Format {
  WeightFormatInfo info;
  void (*decode)(const std::byte* blocks, size_t n_blocks, float* out);
};

template <typename Block>
constexpr Format quantised(std::string_view name) {
  return {{name, Block::kWeights, sizeof(Block)}, [](const std::byte* blocks, size_t n_blocks, float* out) {
            for (size_t i = 0; i < n_blocks; ++i) {
              dequantize(load_le<Block>(blocks + i * sizeof(Block)), out + i * Block::kWeights);
            }
          }};
}

template <typename Bits, float (*to_float)(Bits)>
constexpr Format plain(std::string_view name) {
  return {{name, 1, sizeof(Bits)}, [](const std::byte* values, size_t n, float* out) {
            for (size_t i = 0; i < n; ++i) out[i] = to_float(load_le<Bits>(values + i * sizeof(Bits)));
          }};
}

float same(float value) { return value; }

// In the order of WeightFormat.
constexpr Format kFormats[] = {
    plain<float, same>("F32"),    plain<uint16_t, f16_to_f32>("F16"), plain<uint16_t, bf16_to_f32>("BF16"),
    quantised<BlockQ8_0>("Q8_0"), quantised<BlockQ4_0>("Q4_0"),       quantised<BlockQ4_1>("Q4_1"),
    quantised<BlockQ5_0>("Q5_0"), quantised<BlockQ5_1>("Q5_1"),       quantised<BlockQ2_K>("Q2_K"),
    quantised<BlockQ3_K>("Q3_K"), quantised<BlockQ4_K>("Q4_K"),       quantised<BlockQ5_K>("Q5_K"),
    quantised<BlockQ6_K>("Q6_K"), quantised<BlockIQ4_NL>("IQ4_NL"),   quantised<BlockIQ4_XS>("IQ4_XS")};
static_assert(std::size(kFormats) == std::size(kWeightFormats));

const Format& find(WeightFormat format) {
  RAVENWING_CHECK(size_t(format) < std::size(kFormats));
  return kFormats[size_t(format)];
}

}  // namespace

const WeightFormatInfo& info(WeightFormat format) { return find(format).info; }

std::optional<WeightFormat> from_ggml_type(uint32_t ggml_type) {
  for (const WeightFormat format : kWeightFormats) {
    if (ggml_type_name(ggml_type) == info(format).name) return format;
  }
  return std::nullopt;
}

std::string_view ggml_type_name(uint32_t ggml_type) {
  return ggml_type < kGgmlTypeNames.size() ? kGgmlTypeNames[ggml_type] : "unknown";
}

void dequantize(WeightFormat format, const std::byte* blocks, std::span<float> out) {
  const Format& found = find(format);
  RAVENWING_CHECK(out.size() % found.info.block_weights == 0);
  found.decode(blocks, out.size() / found.info.block_weights, out.data());
}

}  // namespace ravenwing::format
