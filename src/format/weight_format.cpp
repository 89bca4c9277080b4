// src/format/weight_format.cpp: block layouts of ggml's formats and their decoding.
#include "format/weight_format.hpp"

#include <array>

#include "base/bytes.hpp"
#include "base/half.hpp"

namespace ravenwing::format {
namespace {

constexpr uint32_t kQ8Weights = 32;         // one f16 scale, then 32 int8
constexpr uint32_t kSuperWeights = 256;     // Q4_K, Q6_K
constexpr uint32_t kQ4KScalesAt = 4;        // after two f16: scale of the scales, scale of the minima
constexpr uint32_t kQ4KQuantsAt = 16;       // after 12 bytes that pack 8 scales and 8 minima of 6 bits
constexpr uint32_t kQ6KHighAt = 128;        // after the low 4 bits of 256 weights
constexpr uint32_t kQ6KScalesAt = 192;      // after the high 2 bits
constexpr uint32_t kQ6KSuperScaleAt = 208;  // after 16 int8 scales

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

float half_at(const std::byte* block, uint32_t offset) { return f16_to_f32(load_le<uint16_t>(block + offset)); }

uint8_t byte_at(const std::byte* block, uint32_t offset) { return std::to_integer<uint8_t>(block[offset]); }

void dequantize_q8_0(const std::byte* block, float* out) {
  const float scale = half_at(block, 0);
  for (uint32_t i = 0; i < kQ8Weights; ++i) out[i] = float(load_le<int8_t>(block + 2 + i)) * scale;
}

struct ScaleMin {
  uint8_t scale, min;
};

/// The 6-bit scale and minimum of 32 weights. The first four pairs lie in the low 6 bits of bytes 0-3 and 4-7; the last
/// four have their low 4 bits in bytes 8-11 and their high 2 bits on top of the first eight bytes.
ScaleMin q4_k_scale_min(const std::byte* scales, uint32_t group) {
  if (group < 4) return {uint8_t(byte_at(scales, group) & 63), uint8_t(byte_at(scales, group + 4) & 63)};
  const uint8_t low = byte_at(scales, group + 4);
  const uint8_t scale_high = byte_at(scales, group - 4) >> 6;
  const uint8_t min_high = byte_at(scales, group) >> 6;
  return {uint8_t((low & 15) | (scale_high << 4)), uint8_t((low >> 4) | (min_high << 4))};
}

void dequantize_q4_k(const std::byte* block, float* out) {
  const float super_scale = half_at(block, 0);
  const float super_min = half_at(block, 2);
  for (uint32_t group = 0; group < kSuperWeights / 32; ++group) {
    const ScaleMin pair = q4_k_scale_min(block + kQ4KScalesAt, group);
    const float scale = super_scale * float(pair.scale);
    const float min = super_min * float(pair.min);
    // Two groups share 32 bytes: the even one has the low nibbles, the odd one the high nibbles.
    const std::byte* quants = block + kQ4KQuantsAt + group / 2 * 32;
    const uint32_t shift = group % 2 * 4;
    for (uint32_t i = 0; i < 32; ++i) {
      const float product = scale * float((byte_at(quants, i) >> shift) & 15);
      out[group * 32 + i] = product - min;
    }
  }
}

void dequantize_q6_k(const std::byte* block, float* out) {
  const float super_scale = half_at(block, kQ6KSuperScaleAt);
  for (uint32_t i = 0; i < kSuperWeights; ++i) {
    // Each half of 128 weights has 64 bytes of nibbles and 32 of high bits: quarter q of a half takes nibble q / 2 of
    // bytes 32 * (q % 2) ..., and bits 2q of the high bytes.
    const uint32_t half = i / 128, quarter = i % 128 / 32, lane = i % 32;
    const uint8_t low = byte_at(block, half * 64 + quarter % 2 * 32 + lane) >> (quarter / 2 * 4) & 15;
    const uint8_t high = byte_at(block, kQ6KHighAt + half * 32 + lane) >> (quarter * 2) & 3;
    const float scale = super_scale * float(load_le<int8_t>(block + kQ6KScalesAt + i / 16));
    out[i] = scale * float(int(low | (high << 4)) - 32);
  }
}

void dequantize_block(WeightFormat format, const std::byte* block, float* out) {
  switch (format) {
    case WeightFormat::f32:
      *out = load_le<float>(block);
      return;
    case WeightFormat::f16:
      *out = half_at(block, 0);
      return;
    case WeightFormat::bf16:
      *out = bf16_to_f32(load_le<uint16_t>(block));
      return;
    case WeightFormat::q8_0:
      dequantize_q8_0(block, out);
      return;
    case WeightFormat::q4_k:
      dequantize_q4_k(block, out);
      return;
    case WeightFormat::q6_k:
      dequantize_q6_k(block, out);
      return;
  }
}

}  // namespace

const WeightFormatInfo& info(WeightFormat format) {
  static constexpr WeightFormatInfo kInfo[] = {{"F32", 1, 4},
                                               {"F16", 1, 2},
                                               {"BF16", 1, 2},
                                               {"Q8_0", kQ8Weights, 2 + kQ8Weights},
                                               {"Q4_K", kSuperWeights, kQ4KQuantsAt + 128},
                                               {"Q6_K", kSuperWeights, kQ6KSuperScaleAt + 2}};
  const auto index = size_t(format);
  RAVENWING_CHECK(index < std::size(kInfo));
  return kInfo[index];
}

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
  const WeightFormatInfo& layout = info(format);
  RAVENWING_CHECK(out.size() % layout.block_weights == 0);
  for (size_t at = 0; at < out.size(); at += layout.block_weights) {
    dequantize_block(format, blocks, out.data() + at);
    blocks += layout.block_bytes;
  }
}

}  // namespace ravenwing::format
