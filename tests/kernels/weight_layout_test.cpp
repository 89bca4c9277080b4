// tests/kernels/weight_layout_test.cpp: packed rows as the shaders decode them against what ggml makes of the same
// blocks.
#include "kernels/weight_layout.hpp"

#include <algorithm>

#include "kernels/matmul.hpp"
#include "kernels/values.hpp"
#include "support/files.hpp"

using namespace ravenwing;
using format::WeightFormat;

namespace {

/// The blocks of tests/data/golden/dequant as rows of an odd number of blocks, the padding between rows in play. Some
/// blocks there are zero, some have scales that are subnormal in f16.
test::TestMatrix golden_matrix(WeightFormat format) {
  const auto& info = format::info(format);
  const std::string file = format == WeightFormat::f32 ? "source.f32" : std::string(info.name) + ".bin";
  std::vector<std::byte> blocks = test::read_file(test::golden_folder() / "dequant" / file);
  const uint32_t blocks_per_row = info.block_weights == 1 ? 512 : info.block_weights == 32 ? 17 : 3;
  const uint32_t n_rows = uint32_t(blocks.size()) / info.block_bytes / blocks_per_row;
  blocks.resize(size_t(n_rows) * blocks_per_row * info.block_bytes);
  return test::packed_matrix(format, n_rows, blocks_per_row * info.block_weights, std::move(blocks));
}

/// The product with the identity: every weight as the shader decodes it, [n_in, n_rows].
std::vector<float> decoded_by_shader(test::Gpu& gpu, const test::TestMatrix& matrix, kernels::MatMulMode mode) {
  const uint32_t n_in = matrix.n_in, stride = kernels::act_stride(matrix.n_rows);
  test::Scene scene(gpu, n_in);
  const std::vector<uint32_t> ids(n_in);
  scene.step().add_chunk({0, ids});
  std::vector<float> identity(size_t(n_in) * n_in);
  for (uint32_t k = 0; k < n_in; ++k) identity[size_t(k) * n_in + k] = 1;
  const test::Region weights = scene.input(matrix.packed), input = scene.input_acts(identity, n_in);
  const test::Region output = scene.output_acts(size_t(n_in) * stride);
  scene.run([&](const kernels::Context& context) {
    kernels::MatMul product;
    product.segments = {{matrix.view(scene, weights, 0), 0, 0, stride, kernels::Activation::none}};
    product.input = scene.view(input);
    product.output = scene.view(output);
    product.mode = mode;
    kernels::matmul(context, gpu.uniforms, product);
  });
  return scene.acts(output);
}

/// On every tier; `exact` is matmul_vec, `fast`, with so many columns, matmul_mat.
void check_decoding(WeightFormat format, kernels::MatMulMode mode) {
  const test::TestMatrix matrix = golden_matrix(format);
  std::vector<float> weights(size_t(matrix.n_rows) * matrix.n_in);
  format::dequantize(format, matrix.rows.data(), weights);
  for (const auto& gpu : test::gpus()) {
    INFO(gpu->name(), ", ", format::info(format).name, ", exact ", mode == kernels::MatMulMode::exact);
    test::Expected expected;
    for (uint32_t k = 0; k < matrix.n_in; ++k) {
      for (uint32_t row = 0; row < matrix.n_rows; ++row) {
        const double weight = weights[size_t(row) * matrix.n_in + k];
        // T2 rounds the middle of a run of weights too, which is about as large as they are.
        double largest = 0;
        for (const float other : std::span(weights).subspan(size_t(row) * matrix.n_in + k / 16 * 16, 16))
          largest = std::max<double>(largest, std::abs(other));
        // unpack2x16float may take subnormal weights of f16 as zero.
        const bool may_vanish = format == WeightFormat::f16 && std::abs(weight) < test::kF16NormalMin;
        expected.add(weight,
                     (gpu->half() ? test::act_rounding(
                                        *gpu, std::abs(weight) + (gpu->device.tier() == gpu::Tier::t2 ? largest : 0))
                                  : 0) +
                         (may_vanish ? std::abs(weight) : 0));
      }
      expected.add_untouched(kernels::act_stride(matrix.n_rows) - matrix.n_rows);
    }
    test::check_close(decoded_by_shader(*gpu, matrix, mode), expected, test::nmse_max_of_acts(*gpu));
  }
}

}  // namespace

TEST_SUITE_BEGIN("weight_layout");

TEST_CASE("every format is decoded as ggml decodes it, to the bit in f32") {
  for (const WeightFormat format : format::kWeightFormats) check_decoding(format, kernels::MatMulMode::exact);
}

TEST_CASE("common formats are decoded the same by the kernel of many columns") {
  for (const WeightFormat format : test::kCommonFormats) check_decoding(format, kernels::MatMulMode::fast);
}

TEST_CASE("rows are whole units of 16 bytes and hold their blocks") {
  for (const WeightFormat format : format::kWeightFormats) {
    const auto& info = format::info(format);
    for (uint32_t n_blocks = 1; n_blocks <= 300; n_blocks += info.block_weights == 1 ? 1 : 37) {
      const uint32_t n_in = n_blocks * info.block_weights, n_bytes = kernels::row_bytes(format, n_in);
      CHECK(n_bytes % 16 == 0);
      CHECK(n_bytes >= n_blocks * info.block_bytes);
      CHECK(n_bytes < n_blocks * info.block_bytes + 16 + 7 * 4);
      // Every byte is written, the padding with zeros; rows of zeros have nothing else.
      const uint32_t n_rows = kernels::rows_together(format);
      const std::vector<std::byte> zeros(size_t(n_rows) * n_blocks * info.block_bytes);
      std::vector<std::byte> packed(kernels::matrix_bytes(format, n_rows, n_in), std::byte(0xff));
      CHECK(packed.size() == n_rows * n_bytes);
      kernels::pack_rows(format, n_rows, n_in, zeros.data(), packed.data());
      CHECK(std::all_of(packed.begin(), packed.end(), [](std::byte value) { return value == std::byte(0); }));
    }
  }
}

TEST_CASE("eight rows of Q4_K lie together by pieces of 16 bytes, a matrix ends with a whole eight") {
  constexpr uint32_t kRows = 11, kRowBytes = 2 * 144;
  std::vector<std::byte> rows(kRows * kRowBytes);
  // Of every piece its number, counted over all rows.
  for (uint32_t i = 0; i < rows.size(); ++i) rows[i] = std::byte(i / 16);
  std::vector<std::byte> packed(kernels::matrix_bytes(WeightFormat::q4_k, kRows, 512), std::byte(0xff));
  REQUIRE(packed.size() == 16 * kRowBytes);
  kernels::pack_rows(WeightFormat::q4_k, kRows, 512, rows.data(), packed.data());
  for (uint32_t i = 0; i < packed.size(); ++i) {
    const uint32_t quad = i / 16, row = quad / 8 / 18 * 8 + quad % 8;
    const uint32_t expected = row < kRows ? row * 18 + quad / 8 % 18 : 0xff;
    if (packed[i] != std::byte(expected)) FAIL_CHECK(fmt::format("byte {} is of piece {}", i, uint32_t(packed[i])));
  }
}

TEST_CASE("what is cut out of a matrix ends where rows that lie together do") {
  CHECK(kernels::rows_in(WeightFormat::q4_k, 256, 8 * 144 - 1) == 0);
  CHECK(kernels::rows_in(WeightFormat::q4_k, 256, 8 * 144) == 8);
  CHECK(kernels::rows_in(WeightFormat::q4_k, 256, 23 * 144) == 16);
  CHECK(kernels::rows_in(WeightFormat::f16, 8, 47) == 2);
  CHECK(kernels::matrix_bytes(WeightFormat::f16, 3, 8) == 48);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("slow");

TEST_CASE("weight_layout: the other formats are decoded the same by the kernel of many columns") {
  for (const WeightFormat format : test::other_formats()) check_decoding(format, kernels::MatMulMode::fast);
}

TEST_SUITE_END();
