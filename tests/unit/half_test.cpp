// tests/unit/half_test.cpp: f16 and bf16 against a slow search for the nearest value.
#include "base/half.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace ravenwing;

namespace {

/// The value of finite f16 bits from the definition, in double, which holds it exactly. `n_mantissa` and `bias` make it
/// serve bf16 too.
double value_of(uint16_t bits, int n_mantissa, int bias) {
  const int n_exponent = 15 - n_mantissa;
  const int exponent = (bits >> n_mantissa) & ((1 << n_exponent) - 1);
  const int mantissa = bits & ((1 << n_mantissa) - 1);
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, 1 - bias - n_mantissa)
                                         : std::ldexp((1 << n_mantissa) + mantissa, exponent - bias - n_mantissa);
  return bits & 0x8000 ? -magnitude : magnitude;
}

/// The finite or infinite magnitude bits nearest to |value|, the even one of two equally near ones. The bits count up
/// with the value; infinity takes the place of the next power of two, as rounding treats it.
uint16_t nearest_bits(float value, int n_mantissa, int bias) {
  const double magnitude = std::fabs(double(value));
  const uint16_t infinity = uint16_t(((1 << (15 - n_mantissa)) - 1) << n_mantissa);
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isinf(value)) return sign | infinity;
  uint16_t low = 0, high = infinity;
  while (high - low > 1) {
    const uint16_t middle = uint16_t((low + high) / 2);
    (value_of(middle, n_mantissa, bias) <= magnitude ? low : high) = middle;
  }
  const double below = magnitude - value_of(low, n_mantissa, bias);
  const double above = value_of(high, n_mantissa, bias) - magnitude;
  const bool up = above < below || (above == below && (high & 1) == 0);
  return uint16_t(sign | (up ? high : low));
}

/// Floats near every rounding decision: each half value, the middle to its neighbour, one step beside both, and noise.
template <typename ToFloat>
std::vector<float> interesting_floats(ToFloat to_float, uint16_t infinity) {
  std::vector<float> values = {std::numeric_limits<float>::max(), std::numeric_limits<float>::denorm_min(),
                               std::numeric_limits<float>::min(), std::numeric_limits<float>::infinity()};
  for (uint32_t bits = 0; bits < infinity; ++bits) {
    const float value = to_float(uint16_t(bits));
    const float next = bits + 1 == infinity ? value : to_float(uint16_t(bits + 1));
    const float middle = float((double(value) + double(next)) / 2);
    for (const float centre : {value, middle}) {
      values.push_back(centre);
      values.push_back(std::nextafter(centre, 0.0f));
      values.push_back(std::nextafter(centre, std::numeric_limits<float>::infinity()));
    }
  }
  std::mt19937 random(5);
  for (int i = 0; i < 200000; ++i) {
    const float value = std::bit_cast<float>(uint32_t(random()) & 0x7fffffffu);
    if (!std::isnan(value)) values.push_back(value);
  }
  return values;
}

}  // namespace

TEST_CASE("every f16 has its value and comes back") {
  for (uint32_t i = 0; i < 65536; ++i) {
    const uint16_t bits = uint16_t(i);
    const float value = f16_to_f32(bits);
    if ((bits & 0x7fff) > 0x7c00) {
      if (!std::isnan(value) || (f32_to_f16(value) & 0x7fff) <= 0x7c00) FAIL(bits);
    } else {
      const double expected =
          (bits & 0x7fff) == 0x7c00 ? std::copysign(INFINITY, bits & 0x8000 ? -1 : 1) : value_of(bits, 10, 15);
      if (double(value) != expected || f32_to_f16(value) != bits) FAIL(bits);
    }
  }
}

TEST_CASE("every bf16 has its value and comes back") {
  for (uint32_t i = 0; i < 65536; ++i) {
    const uint16_t bits = uint16_t(i);
    const float value = bf16_to_f32(bits);
    if ((bits & 0x7fff) > 0x7f80) {
      if (!std::isnan(value) || (f32_to_bf16(value) & 0x7fff) <= 0x7f80) FAIL(bits);
    } else {
      const double expected =
          (bits & 0x7fff) == 0x7f80 ? std::copysign(INFINITY, bits & 0x8000 ? -1 : 1) : value_of(bits, 7, 127);
      if (double(value) != expected || f32_to_bf16(value) != bits) FAIL(bits);
    }
  }
}

TEST_CASE("f32 to f16 rounds to the nearest, ties to even") {
  for (const float value : interesting_floats(f16_to_f32, 0x7c00)) {
    if (f32_to_f16(value) != nearest_bits(value, 10, 15)) FAIL(value);
    if (f32_to_f16(-value) != nearest_bits(-value, 10, 15)) FAIL(-value);
  }
  CHECK(f32_to_f16(65519.996f) == 0x7bff);
  CHECK(f32_to_f16(65520.0f) == 0x7c00);
  CHECK(f32_to_f16(0x1p-25f) == 0);
  CHECK(f32_to_f16(-0x1.8p-24f) == 0x8002);
}

TEST_CASE("f32 to a finite f16: the same, but that what is too large becomes the largest") {
  for (const float value : {65504.0f, 65519.9f, 65520.0f, 1e30f}) {
    CHECK(f32_to_finite_f16(value) == 0x7bff);
    CHECK(f32_to_finite_f16(-value) == 0xfbff);
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  CHECK(f32_to_finite_f16(kInfinity) == 0x7c00);
  CHECK(f32_to_finite_f16(-kInfinity) == 0xfc00);
  CHECK((f32_to_finite_f16(std::numeric_limits<float>::quiet_NaN()) & 0x7fff) > 0x7c00);
  for (const float value : {0.0f, 1.0f, -2049.0f, 0x1p-25f, 65500.0f})
    CHECK(f32_to_finite_f16(value) == f32_to_f16(value));
}

TEST_CASE("f32 to bf16 rounds to the nearest, ties to even") {
  for (const float value : interesting_floats(bf16_to_f32, 0x7f80)) {
    if (f32_to_bf16(value) != nearest_bits(value, 7, 127)) FAIL(value);
    if (f32_to_bf16(-value) != nearest_bits(-value, 7, 127)) FAIL(-value);
  }
}

TEST_CASE("a NaN stays one, with its sign") {
  for (const uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu}) {
    for (const uint32_t sign : {0u, 0x80000000u}) {
      const float value = std::bit_cast<float>(bits | sign);
      const uint16_t half = f32_to_f16(value), brain = f32_to_bf16(value);
      CHECK((half & 0x7fff) > 0x7c00);
      CHECK((brain & 0x7fff) > 0x7f80);
      CHECK((half & 0x8000u) == sign >> 16);
      CHECK((brain & 0x8000u) == sign >> 16);
    }
  }
}
