// src/format/quant_blocks.cpp: decoding block by block. No product of d, a scale and a code needs more than the 24 bits
// of a float, so that only the minimum's subtraction rounds and the order of the factors does not matter.
#include "format/quant_blocks.hpp"

#include "base/half.hpp"

namespace ravenwing::format {
namespace {

/// What the codes of IQ4_NL and IQ4_XS stand for.
constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// Bit `bit` and the width - 1 above it.
int bits(uint32_t word, uint32_t bit, uint32_t width) { return int(word >> bit & ((1u << width) - 1)); }

/// The nibble of weight i of 32.
int nibble_of_32(const uint8_t* nibbles, uint32_t i) { return bits(nibbles[i % 16], i / 16 * 4, 4); }

int five_bits_of_32(const uint8_t* nibbles, const uint8_t* high_bits, uint32_t i) {
  return nibble_of_32(nibbles, i) | bits(high_bits[i / 8], i % 8, 1) << 4;
}

/// The pair of weight i of 256 in Q2_K, Q3_K and, above the nibbles, Q6_K.
int pair_of_256(const uint8_t* pairs, uint32_t i) { return bits(pairs[i / 128 * 32 + i % 32], i / 32 % 4 * 2, 2); }

/// The nibble of weight i of 256 in Q4_K and Q5_K.
int nibble_of_256(const uint8_t* nibbles, uint32_t i) { return bits(nibbles[i / 64 * 32 + i % 32], i / 32 % 2 * 4, 4); }

/// The bit of weight i of 256 in Q3_K and Q5_K.
int bit_of_256(const uint8_t* high_bits, uint32_t i) { return bits(high_bits[i % 32], i / 32, 1); }

struct ScaleMin {
  float scale, min;
};

/// Of a run of 32 weights in Q4_K and Q5_K.
template <typename Block>
ScaleMin scale_min(const Block& block, uint32_t run) {
  const uint8_t* bytes = block.scales;
  int scale = bits(bytes[run % 4], 0, 6), min = bits(bytes[run % 4 + 4], 0, 6);
  if (run >= 4) {
    scale = bits(bytes[run + 4], 0, 4) | bits(bytes[run - 4], 6, 2) << 4;
    min = bits(bytes[run + 4], 4, 4) | bits(bytes[run], 6, 2) << 4;
  }
  return {f16_to_f32(block.d) * float(scale), f16_to_f32(block.dmin) * float(min)};
}

}  // namespace

void dequantize(const BlockQ4_0& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (uint32_t i = 0; i < 32; ++i) out[i] = d * float(nibble_of_32(block.nibbles, i) - 8);
}

void dequantize(const BlockQ4_1& block, float* out) {
  const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
  for (uint32_t i = 0; i < 32; ++i) out[i] = d * float(nibble_of_32(block.nibbles, i)) + m;
}

void dequantize(const BlockQ5_0& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (uint32_t i = 0; i < 32; ++i) out[i] = d * float(five_bits_of_32(block.nibbles, block.high_bits, i) - 16);
}

void dequantize(const BlockQ5_1& block, float* out) {
  const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
  for (uint32_t i = 0; i < 32; ++i) out[i] = d * float(five_bits_of_32(block.nibbles, block.high_bits, i)) + m;
}

void dequantize(const BlockQ8_0& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (uint32_t i = 0; i < 32; ++i) out[i] = d * float(block.codes[i]);
}

void dequantize(const BlockIQ4_NL& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (uint32_t i = 0; i < 32; ++i) out[i] = d * float(kIq4Values[nibble_of_32(block.nibbles, i)]);
}

void dequantize(const BlockQ2_K& block, float* out) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (uint32_t i = 0; i < 256; ++i) {
    const uint8_t byte = block.scales[i / 16];
    out[i] = d * float(bits(byte, 0, 4)) * float(pair_of_256(block.pairs, i)) - dmin * float(bits(byte, 4, 4));
  }
}

void dequantize(const BlockQ3_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t run = i / 16;
    const int scale = bits(block.scales[run % 8], run / 8 * 4, 4) | bits(block.scales[8 + run % 4], run / 4 * 2, 2)
                                                                        << 4;
    const int code = pair_of_256(block.pairs, i) | bit_of_256(block.high_bits, i) << 2;
    out[i] = d * float(scale - 32) * float(code - 4);
  }
}

void dequantize(const BlockQ4_K& block, float* out) {
  for (uint32_t run = 0; run < 8; ++run) {
    const auto [scale, min] = scale_min(block, run);
    for (uint32_t i = 32 * run; i < 32 * run + 32; ++i) out[i] = scale * float(nibble_of_256(block.nibbles, i)) - min;
  }
}

void dequantize(const BlockQ5_K& block, float* out) {
  for (uint32_t run = 0; run < 8; ++run) {
    const auto [scale, min] = scale_min(block, run);
    for (uint32_t i = 32 * run; i < 32 * run + 32; ++i) {
      const int code = nibble_of_256(block.nibbles, i) | bit_of_256(block.high_bits, i) << 4;
      out[i] = scale * float(code) - min;
    }
  }
}

void dequantize(const BlockQ6_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t half = i / 128, quarter = i / 32 % 4;
    const int low = bits(block.nibbles[half * 64 + quarter % 2 * 32 + i % 32], quarter / 2 * 4, 4);
    const int code = low | pair_of_256(block.high_pairs, i) << 4;
    out[i] = d * float(block.scales[i / 16]) * float(code - 32);
  }
}

void dequantize(const BlockIQ4_XS& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t run = i / 32;
    const int scale = bits(block.scale_nibbles[run / 2], run % 2 * 4, 4) | bits(block.scale_pairs, run * 2, 2) << 4;
    out[i] = d * float(scale - 32) * float(kIq4Values[nibble_of_32(&block.nibbles[16 * run], i % 32)]);
  }
}

}  // namespace ravenwing::format
