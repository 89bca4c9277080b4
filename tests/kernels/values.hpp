// Values for tests of kernels: random ones, matrices of every format, and comparison with an oracle within bounds.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "format/weight_format.hpp"
#include "kernels/harness.hpp"
#include "kernels/weight_layout.hpp"

namespace ravenwing::test {

/// Largest relative error of rounding to f32 and to f16.
inline constexpr double kF32Unit = 0x1p-24;
inline constexpr double kF16Unit = 0x1p-11;
/// Below this an f16 is subnormal, which a GPU may take and store as zero.
inline constexpr double kF16NormalMin = 0x1p-14;
/// Rounding to f32 alone leaves 1e-15 and less; sums with some cancellation of up to 65 536 terms stay below this.
inline constexpr double kNmseF32 = 1e-11;
/// Rounding to f16 leaves at most the square of kF16Unit, 2.4e-7, a third of it on average over a binade.
inline constexpr double kNmseF16 = 1.2e-7;

inline double nmse_max_of_acts(const Gpu& gpu) { return gpu.half() ? kNmseF16 : kNmseF32; }

/// The error of storing `value` as an activation of the tier, or as f32.
double act_rounding(const Gpu& gpu, double value);
inline double f32_rounding(double value) { return kF32Unit * std::abs(value); }

/// What a kernel must have written. A value of NaN stands for memory that must still hold the canary.
struct Expected {
  std::vector<double> values;
  std::vector<double> tolerance;  // largest error, element by element

  void add(double value, double error) {
    values.push_back(value);
    tolerance.push_back(error);
  }
  void add_untouched(size_t n = 1) {
    for (; n > 0; --n) add(std::numeric_limits<double>::quiet_NaN(), 0);
  }
  void add(const Expected& more) {
    values.insert(values.end(), more.values.begin(), more.values.end());
    tolerance.insert(tolerance.end(), more.tolerance.begin(), more.tolerance.end());
  }
};

/// Two bounds: every element within its tolerance, and the whole within a normalised mean squared error.
void check_close(std::span<const float> got, const Expected& expected, double nmse_max);

/// Evenly spread over (offset - scale, offset + scale); none is a subnormal f16.
std::vector<float> random_values(std::mt19937& random, size_t n, float scale = 1, float offset = 0);

/// A matrix as a file has it and as the GPU has it.
struct TestMatrix {
  format::WeightFormat format = format::WeightFormat::f32;
  uint32_t n_rows = 0, n_in = 0;
  std::vector<std::byte> rows;    // the file's blocks
  std::vector<std::byte> packed;  // after pack_rows; 0xff in place of missing rows

  /// Of the packed rows, which lie `offset` bytes into a region.
  kernels::MatrixView view(const Scene& scene, Region region, uint64_t offset) const;
};

/// Formats that the default suites try in every kernel. Of the others they try the decoding in one kernel; the rest is
/// in `slow`, because each shader takes software Vulkan seconds to compile.
inline constexpr format::WeightFormat kCommonFormats[] = {format::WeightFormat::f32,  format::WeightFormat::f16,
                                                          format::WeightFormat::bf16, format::WeightFormat::q8_0,
                                                          format::WeightFormat::q4_k, format::WeightFormat::q6_k};

/// The formats that are not among those.
std::vector<format::WeightFormat> other_formats();

/// Rows of a file, packed.
TestMatrix packed_matrix(format::WeightFormat format, uint32_t n_rows, uint32_t n_in, std::vector<std::byte> rows);
/// Weights of deviations from 0.25 to 0.5 times `scale`, or uniform in (-1, 1) for plain floats; n_in must be whole
/// blocks.
TestMatrix random_matrix(format::WeightFormat format, uint32_t n_rows, uint32_t n_in, std::mt19937& random,
                         float scale = 1);

/// What layer_norm_ref makes of a row, and how far f32 may be from it with a workgroup of 128: each sum adds n / 128 +
/// 7 terms one after another, square root and division err by a few units (Vulkan allows 2.5 each), all relative to the
/// row's largest value. vectors [2, n]: weight, bias. `as_act`: stored as an activation.
Expected layer_norm_expected(const Gpu& gpu, std::span<const float> x, std::span<const float> vectors, float epsilon,
                             bool as_act);

}  // namespace ravenwing::test
