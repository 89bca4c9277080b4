// tests/kernels/values.cpp
#include "kernels/values.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.hpp"
#include "format/random_block.hpp"
#include "kernels/layer_norm_ref.hpp"

namespace ravenwing::test {

using format::WeightFormat;

double act_rounding(const Gpu& gpu, double value) {
  const double size = std::abs(value);
  if (!gpu.half()) return kF32Unit * size;
  return size < kF16NormalMin ? kF16NormalMin : kF16Unit * size;
}

void check_close(std::span<const float> got, const Expected& expected, double nmse_max) {
  REQUIRE(got.size() == expected.values.size());
  double error_squares = 0, squares = 0, worst_excess = 0;
  size_t n_wrong = 0, worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double wanted = expected.values[i];
    const double error = double(got[i]) - wanted;
    const bool untouched = std::isnan(wanted);
    // Written so that a NaN is wrong.
    const bool right = untouched ? std::isnan(got[i]) : std::abs(error) <= expected.tolerance[i];
    const double excess = std::isnan(error) ? HUGE_VAL : std::abs(error) - expected.tolerance[i];
    if (!right && (n_wrong++ == 0 || excess > worst_excess)) worst = i, worst_excess = excess;
    if (!untouched) error_squares += error * error, squares += wanted * wanted;
  }
  if (n_wrong > 0) {
    FAIL_CHECK(fmt::format("{} of {} elements are wrong, worst at {}: {} instead of {} +- {}", n_wrong, got.size(),
                           worst, got[worst], expected.values[worst], expected.tolerance[worst]));
  } else if (squares > 0) {
    CHECK(error_squares / squares <= nmse_max);
  }
}

std::vector<float> random_values(std::mt19937& random, size_t n, float scale, float offset) {
  std::vector<float> values(n);
  for (float& value : values) {
    value = offset + scale * (float(random() >> 8) * 0x1p-23f - 1);
    if (std::abs(value) < float(2 * kF16NormalMin)) value = 0;
  }
  return values;
}

kernels::MatrixView TestMatrix::view(const Scene& scene, Region region, uint64_t offset) const {
  gpu::BufferView bytes = scene.view(region);
  bytes.offset += offset;
  bytes.size = packed.size();
  return {format, n_rows, n_in, bytes};
}

std::vector<WeightFormat> other_formats() {
  std::vector<WeightFormat> formats;
  for (const WeightFormat format : format::kWeightFormats) {
    if (std::ranges::find(kCommonFormats, format) == std::end(kCommonFormats)) formats.push_back(format);
  }
  return formats;
}

TestMatrix packed_matrix(WeightFormat format, uint32_t n_rows, uint32_t n_in, std::vector<std::byte> rows) {
  const auto& info = format::info(format);
  const size_t file_bytes = size_t(n_in) / info.block_weights * info.block_bytes;
  REQUIRE(rows.size() == n_rows * file_bytes);
  TestMatrix matrix{format, n_rows, n_in, std::move(rows),
                    std::vector<std::byte>(kernels::matrix_bytes(format, n_rows, n_in), std::byte(0xff))};
  kernels::pack_rows(format, n_rows, n_in, matrix.rows.data(), matrix.packed.data());
  return matrix;
}

TestMatrix random_matrix(WeightFormat format, uint32_t n_rows, uint32_t n_in, std::mt19937& random, float scale) {
  const auto& info = format::info(format);
  REQUIRE(n_in % info.block_weights == 0);
  const size_t n_blocks = size_t(n_rows) * (n_in / info.block_weights);
  std::vector<std::byte> rows(n_blocks * info.block_bytes);
  if (info.block_weights == 1) {
    const std::vector<float> values = random_values(random, n_blocks);
    for (size_t i = 0; i < n_blocks; ++i) {
      const uint16_t half = format == WeightFormat::f16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
      if (format == WeightFormat::f32)
        std::memcpy(&rows[4 * i], &values[i], 4);
      else
        std::memcpy(&rows[2 * i], &half, 2);
    }
  } else {
    for (std::byte& byte : rows) byte = std::byte(random() >> 24);
    for (size_t i = 0; i < n_blocks; ++i) {
      const float deviation = 0.25f + float(random() >> 8) * 0x1p-26f;
      format::scale_random_block(format, &rows[i * info.block_bytes], deviation * scale);
    }
  }
  return packed_matrix(format, n_rows, n_in, std::move(rows));
}

Expected layer_norm_expected(const Gpu& gpu, std::span<const float> x, std::span<const float> vectors, float epsilon,
                             bool as_act) {
  const std::span<const float> weight = vectors.first(x.size()), bias = vectors.subspan(x.size());
  const std::vector<double> normed = kernels::layer_norm_ref(x, weight, bias, epsilon);
  double mean = 0, variance = 0, largest = 0;
  for (const float value : x) mean += value / double(x.size());
  for (const float value : x) variance += (value - mean) * (value - mean) / double(x.size());
  for (const float value : x) largest = std::max(largest, std::abs(double(value)));
  const double units = double(x.size()) / 128 + 7 + 8;
  const double relative_largest = 2 * largest / std::sqrt(variance + double(epsilon));
  Expected expected;
  for (size_t i = 0; i < x.size(); ++i) {
    const double error =
        units * kF32Unit * (relative_largest * std::abs(double(weight[i])) + std::abs(double(bias[i])));
    expected.add(normed[i],
                 error + (as_act ? act_rounding(gpu, std::abs(normed[i]) + error) : f32_rounding(normed[i])));
  }
  return expected;
}

}  // namespace ravenwing::test
