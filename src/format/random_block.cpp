// src/format/random_block.cpp: decoding is linear in a block's f16 scales, so that what it decodes to with d = 1 tells
// which d it needs.
#include "format/random_block.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/bytes.hpp"
#include "base/half.hpp"
#include "format/quant_blocks.hpp"

namespace ravenwing::format {
namespace {

/// Where the f16 scales of a block lie. Of formats with a minimum (m or dmin) also where that lies, and what it must be
/// for d = 1 so that uniformly random codes give a mean of zero.
struct HalfScales {
  size_t d_at;
  size_t minimum_at = 0;
  float minimum = 0;
};

HalfScales half_scales(WeightFormat format) {
  switch (format) {
    case WeightFormat::q8_0:
      return {offsetof(BlockQ8_0, d)};
    case WeightFormat::q4_0:
      return {offsetof(BlockQ4_0, d)};
    case WeightFormat::q4_1:
      return {offsetof(BlockQ4_1, d), offsetof(BlockQ4_1, m), -7.5f};
    case WeightFormat::q5_0:
      return {offsetof(BlockQ5_0, d)};
    case WeightFormat::q5_1:
      return {offsetof(BlockQ5_1, d), offsetof(BlockQ5_1, m), -15.5f};
    case WeightFormat::q2_k:
      return {offsetof(BlockQ2_K, d), offsetof(BlockQ2_K, dmin), 1.5f};
    case WeightFormat::q3_k:
      return {offsetof(BlockQ3_K, d)};
    case WeightFormat::q4_k:
      return {offsetof(BlockQ4_K, d), offsetof(BlockQ4_K, dmin), 7.5f};
    case WeightFormat::q5_k:
      return {offsetof(BlockQ5_K, d), offsetof(BlockQ5_K, dmin), 15.5f};
    case WeightFormat::q6_k:
      return {offsetof(BlockQ6_K, d)};
    case WeightFormat::iq4_nl:
      return {offsetof(BlockIQ4_NL, d)};
    case WeightFormat::iq4_xs:
      return {offsetof(BlockIQ4_XS, d)};
    case WeightFormat::f32:
    case WeightFormat::f16:
    case WeightFormat::bf16:
      break;
  }
  RAVENWING_CHECK(false);
  return {};
}

void store_scales(const HalfScales& scales, std::byte* block, float d) {
  const uint16_t halves[] = {f32_to_f16(d), f32_to_f16(d * scales.minimum)};
  std::memcpy(block + scales.d_at, &halves[0], 2);
  if (scales.minimum != 0) std::memcpy(block + scales.minimum_at, &halves[1], 2);
}

}  // namespace

void scale_random_block(WeightFormat format, std::byte* block, float deviation) {
  const HalfScales scales = half_scales(format);
  // Codes that are not centred, as those of Q4_0 from -8 to 7, need d of either sign for a mean of zero.
  const bool negative = (load_le<uint16_t>(block + scales.d_at) & 0x8000) != 0;
  store_scales(scales, block, 1);
  std::array<float, 256> values;
  const std::span<float> weights(values.data(), info(format).block_weights);
  dequantize(format, block, weights);
  double squares = 0;
  for (const float weight : weights) squares += double(weight) * weight;
  const double root_mean_square = std::max(std::sqrt(squares / double(weights.size())), 1e-3);
  store_scales(scales, block, float((negative ? -deviation : deviation) / root_mean_square));
}

}  // namespace ravenwing::format
