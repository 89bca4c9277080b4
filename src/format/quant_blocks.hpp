// The blocks of ggml's quantised formats, byte for byte as files hold them, and their decoding.
//
// q stands for a weight's code, w for its value; d, m and dmin are f16. Where a block packs the codes of many weights,
// the comment says where weight i has its bits.
#pragma once

#include <cstdint>

namespace ravenwing::format {

// Blocks of 32 weights. nibbles: weight i has the low nibble of byte i, weight i + 16 the high one.

/// w = d (q - 8)
struct BlockQ4_0 {
  static constexpr uint32_t kWeights = 32;
  uint16_t d;
  uint8_t nibbles[16];
};

/// w = d q + m
struct BlockQ4_1 {
  static constexpr uint32_t kWeights = 32;
  uint16_t d, m;
  uint8_t nibbles[16];
};

/// w = d (q - 16); bit i of high_bits is the fifth of q.
struct BlockQ5_0 {
  static constexpr uint32_t kWeights = 32;
  uint16_t d;
  uint8_t high_bits[4];
  uint8_t nibbles[16];
};

/// w = d q + m
struct BlockQ5_1 {
  static constexpr uint32_t kWeights = 32;
  uint16_t d, m;
  uint8_t high_bits[4];
  uint8_t nibbles[16];
};

/// w = d q
struct BlockQ8_0 {
  static constexpr uint32_t kWeights = 32;
  uint16_t d;
  int8_t codes[32];
};

/// w = d iq4_value(q)
struct BlockIQ4_NL {
  static constexpr uint32_t kWeights = 32;
  uint16_t d;
  uint8_t nibbles[16];
};

// Blocks of 256 weights, with scales for runs of 16 or 32.

/// w = d scale q - dmin minimum. Run i / 16 has its scale in the low nibble of its byte of `scales`, its minimum in the
/// high one. Of each half of 128 weights, weight 32 j + i has bits 2 j of byte i of the half's 32 `pairs`.
struct BlockQ2_K {
  static constexpr uint32_t kWeights = 256;
  uint8_t scales[16];
  uint8_t pairs[64];
  uint16_t d, dmin;
};

/// w = d (scale - 32) (q - 4). Pairs as in Q2_K; weight 32 j + i has its third bit in bit j of byte i of high_bits. Run
/// j of 16 weights has the low four bits of its scale in byte j % 8, low nibble for j < 8, and the high two in bits
/// 2 (j / 4) of byte 8 + j % 4.
struct BlockQ3_K {
  static constexpr uint32_t kWeights = 256;
  uint8_t high_bits[32];
  uint8_t pairs[64];
  uint8_t scales[12];
  uint16_t d;
};

/// w = d scale q - dmin minimum. Run j of 32 weights has 6-bit numbers: of the first four, the low 6 bits of bytes j
/// (scale) and j + 4 (minimum); of the last four, the nibbles of byte j + 4 (scale low, minimum high) and above them
/// the high 2 bits of bytes j - 4 and j. Runs 2 j and 2 j + 1 share 32 bytes of nibbles, the even one has the low ones.
struct BlockQ4_K {
  static constexpr uint32_t kWeights = 256;
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t nibbles[128];
};

/// As Q4_K; weight 32 j + i has its fifth bit in bit j of byte i of high_bits.
struct BlockQ5_K {
  static constexpr uint32_t kWeights = 256;
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t high_bits[32];
  uint8_t nibbles[128];
};

/// w = d scale (q - 32). Of each half of 128 weights, weight 32 j + i has the nibble j / 2 of byte 32 (j % 2) + i of
/// the half's 64 nibbles, and bits 2 j of byte i of its 32 high_pairs. A scale for each 16 weights.
struct BlockQ6_K {
  static constexpr uint32_t kWeights = 256;
  uint8_t nibbles[128];
  uint8_t high_pairs[64];
  int8_t scales[16];
  uint16_t d;
};

/// w = d (scale - 32) iq4_value(q). Run j of 32 weights has nibble j of scale_nibbles and bits 2 j of scale_pairs above
/// it, and its nibbles as a block of 32 has them.
struct BlockIQ4_XS {
  static constexpr uint32_t kWeights = 256;
  uint16_t d;
  uint16_t scale_pairs;
  uint8_t scale_nibbles[4];
  uint8_t nibbles[128];
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22 &&
              sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockIQ4_NL) == 18);
static_assert(sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144 &&
              sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210 && sizeof(BlockIQ4_XS) == 136);

/// Writes the kWeights values of a block.
void dequantize(const BlockQ4_0& block, float* out);
void dequantize(const BlockQ4_1& block, float* out);
void dequantize(const BlockQ5_0& block, float* out);
void dequantize(const BlockQ5_1& block, float* out);
void dequantize(const BlockQ8_0& block, float* out);
void dequantize(const BlockIQ4_NL& block, float* out);
void dequantize(const BlockQ2_K& block, float* out);
void dequantize(const BlockQ3_K& block, float* out);
void dequantize(const BlockQ4_K& block, float* out);
void dequantize(const BlockQ5_K& block, float* out);
void dequantize(const BlockQ6_K& block, float* out);
void dequantize(const BlockIQ4_XS& block, float* out);

}  // namespace ravenwing::format
