// IEEE binary16 and bfloat16, to and from float: exact one way, round to nearest even the other.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ravenwing {

// Loops over these become vector code, as they have no branches: a state of a large model is millions of numbers.

/// `yes ? a : b` that compilers leave without a branch.
inline uint32_t select(bool yes, uint32_t a, uint32_t b) { return b ^ ((a ^ b) & (0u - uint32_t(yes))); }

inline float f16_to_f32(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000u) << 16;
  const uint32_t magnitude = uint32_t(half & 0x7fffu) << 13;
  // Exponents are offset by 15 there and by 127 here; the largest stands for infinity and NaN in both.
  const uint32_t normal = magnitude + select(magnitude >= 0x1fu << 23, 224u << 23, 112u << 23);
  // A subnormal's bits below a leading 1 that is taken away again.
  const float one = std::bit_cast<float>(113u << 23);
  const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude + (113u << 23)) - one);
  return std::bit_cast<float>(sign | select(magnitude < 1u << 23, subnormal, normal));
}

inline uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  // Subnormal: adding 0.5 puts the value's last kept bit at the float's last bit, so the hardware rounds it.
  const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
  const uint32_t subnormal = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5f);
  const uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  const uint32_t finite = select(magnitude < 0x38800000u, subnormal, normal);
  const uint32_t large = select(magnitude > 0x7f800000u, 0x7e00u, 0x7c00u);
  return uint16_t(sign | select(magnitude >= 0x477ff000u, large, finite));  // rounds past 65504
}

/// As many floats as there are out of the bytes of f16 or f32, wherever these lie.
inline void unpack_floats(const std::byte* from, bool is_f16, std::span<float> to) {
  if (!is_f16) {
    std::memcpy(to.data(), from, to.size_bytes());
    return;
  }
  for (size_t i = 0; i < to.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, from + 2 * i, 2);
    to[i] = f16_to_f32(half);
  }
}

/// As f32_to_f16(), but of a finite value the nearest finite one.
inline uint16_t f32_to_finite_f16(float value) {
  const uint16_t half = f32_to_f16(value);
  const bool finite = (std::bit_cast<uint32_t>(value) & 0x7fffffffu) < 0x7f800000u;
  return uint16_t(half - uint32_t(finite & ((half & 0x7fffu) == 0x7c00u)));
}

inline float bf16_to_f32(uint16_t value) { return std::bit_cast<float>(uint32_t(value) << 16); }

inline uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return uint16_t((bits >> 16) | 0x40u);
  return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace ravenwing
