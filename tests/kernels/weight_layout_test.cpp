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

// Of tests/data/golden/dequant. Row 3 is zero, the scales of row 7 are subnormal in f16.
constexpr uint32_t kRows = 16, kInputs = 512;

std::vector<std::byte> golden_rows(WeightFormat format) {
  const std::string file = format == WeightFormat::f32 ? "source.f32" : std::string(format::info(format).name) + ".bin";
  return test::read_file(test::golden_folder() / "dequant" / file);
}

/// The product with the identity: every weight as the shader decodes it, [n_in, n_rows].
std::vector<float> decoded_by_shader(test::Gpu& gpu, const test::TestMatrix& matrix, kernels::MatMulMode mode) {
  test::Scene scene(gpu, kInputs);
  const std::vector<uint32_t> ids(kInputs);
  scene.step().add_chunk({0, ids});
  std::vector<float> identity(size_t(kInputs) * kInputs);
  for (uint32_t k = 0; k < kInputs; ++k) identity[size_t(k) * kInputs + k] = 1;
  const test::Region weights = scene.input(matrix.packed), input = scene.input_acts(identity, kInputs);
  const test::Region output = scene.output_acts(kInputs * kRows);
  scene.run([&](const kernels::Context& context) {
    kernels::MatMul product;
    product.segments = {{matrix.view(scene, weights, 0), 0, 0, kRows, kernels::Activation::none}};
    product.input = scene.view(input);
    product.output = scene.view(output);
    product.mode = mode;
    kernels::matmul(context, gpu.uniforms, product);
  });
  return scene.acts(output);
}

}  // namespace

TEST_SUITE_BEGIN("weight_layout");

TEST_CASE("every format is decoded as ggml decodes it, to the bit in f32") {
  for (const WeightFormat format : format::kWeightFormats) {
    const test::TestMatrix matrix = test::packed_matrix(format, kRows, kInputs, golden_rows(format));
    std::vector<float> weights(kRows * kInputs);
    format::dequantize(format, matrix.rows.data(), weights);
    for (const auto& gpu : test::gpus()) {
      test::Expected expected;
      for (uint32_t k = 0; k < kInputs; ++k) {
        for (uint32_t row = 0; row < kRows; ++row) {
          const double weight = weights[row * kInputs + k];
          // unpack2x16float may take subnormal weights of f16 as zero.
          const bool may_vanish = format == WeightFormat::f16 && std::abs(weight) < test::kF16NormalMin;
          expected.add(weight,
                       (gpu->half() ? test::act_rounding(*gpu, weight) : 0) + (may_vanish ? std::abs(weight) : 0));
        }
      }
      for (const auto mode : {kernels::MatMulMode::exact, kernels::MatMulMode::fast}) {
        INFO(gpu->name(), ", ", format::info(format).name, ", exact ", mode == kernels::MatMulMode::exact);
        test::check_close(decoded_by_shader(*gpu, matrix, mode), expected, test::nmse_max_of_acts(*gpu));
      }
    }
  }
}

TEST_CASE("rows are whole units of 16 bytes and hold their blocks") {
  for (const WeightFormat format : format::kWeightFormats) {
    const auto& info = format::info(format);
    for (uint32_t n_blocks = 1; n_blocks <= 300; n_blocks += info.block_weights == 1 ? 1 : 37) {
      const uint32_t n_in = n_blocks * info.block_weights, n_bytes = kernels::row_bytes(format, n_in);
      CHECK(n_bytes % 16 == 0);
      CHECK(n_bytes >= n_blocks * info.block_bytes);
      CHECK(n_bytes < n_blocks * info.block_bytes + 16 + 7 * 4);
      // Every byte is written, the padding with zeros; a row of zeros has nothing else.
      const std::vector<std::byte> zeros(n_blocks * info.block_bytes);
      std::vector<std::byte> packed(n_bytes, std::byte(0xff));
      kernels::pack_row(format, n_in, zeros.data(), packed.data());
      CHECK(std::all_of(packed.begin(), packed.end(), [](std::byte value) { return value == std::byte(0); }));
    }
  }
}

TEST_SUITE_END();
