// tests/kernels/matmul_case.cpp: laying out a product and measuring its errors.
#include "kernels/matmul_case.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/bytes.hpp"
#include "kernels/matmul_ref.hpp"

namespace ravenwing::test {

using kernels::act_stride;
using kernels::Activation;

namespace {

constexpr uint32_t kTokensMax = 600;
constexpr uint64_t kWeightsOffset = 16;
/// Sums of one element: n_in / 8 octets one after another (matmul_mat), the 64 parts of a team (matmul_vec on T0) and
/// what is within an octet, each rounding relative to the sum of absolute values.
double sum_units(uint32_t n_in) { return n_in / 8.0 + 64 + 8; }
/// matmul_tile takes weights in f16, which a GPU may round either way.
constexpr double kTileError = 2 * kF16Unit;
/// Its weights of small codes are sums of products, whose parts are rounded too.
constexpr double kNmseTile = 2 * kNmseF16;
/// Weights that are subnormal in f16 lose what lies below 2^-24.
double tile_underflow(const MatMulCase& matmul_case) {
  const double scale = matmul_case.input_scale;
  return 0x1p-24 * scale * (matmul_case.of_squares ? kernels::kSquareUnit : 1);
}
/// Sums of up to 64 products in f16, before they are added in f32.
constexpr double kF16SumsError = 64 * kF16Unit;
constexpr double kNmseF16Sums = 64 * kNmseF16;
/// Of tanh and 1 / (1 + exp(-x)) on a GPU, absolute: exp alone may err by 3 + 2 |x| units, here up to |x| = 20.
constexpr double kActivationError = 43 * kF32Unit;

}  // namespace

MatMulScene::MatMulScene(Gpu& gpu, const MatMulCase& matmul_case, uint32_t seed)
    : gpu_(gpu), case_(matmul_case), scene_(gpu, kTokensMax), random_(seed), packed_(kWeightsOffset, std::byte(0xff)) {
  for (const SegmentCase& segment : case_.segments) add_segment(segment);
  output_size_ = uint32_t(round_up(output_size_, 8));
  // The number that the product must not take differs from the one that it must.
  const uint32_t n_tokens = case_.over_outputs ? case_.n_columns + 3 : case_.n_columns;
  const uint32_t n_outputs = case_.over_outputs ? case_.n_columns : case_.n_columns / 2;
  const std::vector<uint32_t> ids(n_tokens);
  scene_.step().add_chunk({0, ids});
  for (uint32_t i = 0; i < n_outputs; ++i) scene_.step().add_output({n_tokens - 1 - i, 0, false});
}

void MatMulScene::add_segment(const SegmentCase& segment) {
  Segment added{random_matrix(segment.format, segment.n_rows, segment.n_in, random_, case_.weight_scale),
                segment.activation,
                {},
                packed_.size(),
                input_size_,
                output_size_,
                case_.output_f32 ? segment.n_rows : act_stride(segment.n_rows)};
  added.input = as_acts(gpu_, random_values(random_, size_t(case_.n_columns) * segment.n_in, case_.input_scale));
  packed_.insert(packed_.end(), added.matrix.packed.begin(), added.matrix.packed.end());
  input_size_ += (case_.n_columns + 1) * act_stride(segment.n_in);
  output_size_ += (case_.n_columns + 1) * added.output_stride;
  segments_.push_back(std::move(added));
}

void MatMulScene::set_input(size_t segment, uint32_t column, std::span<const float> values) {
  const std::vector<float> rounded = as_acts(gpu_, {values.begin(), values.end()});
  std::copy(rounded.begin(), rounded.end(), segments_[segment].input.begin() + ptrdiff_t(column * rounded.size()));
}

void MatMulScene::add_regions() {
  weights_ = scene_.input(packed_);
  std::vector<float> input(input_size_, NAN);
  for (const Segment& segment : segments_) {
    const uint32_t n_in = segment.matrix.n_in;
    for (uint32_t column = 0; column < case_.n_columns; ++column) {
      const auto to = input.begin() + segment.input_offset + column * act_stride(n_in);
      std::fill_n(to, act_stride(n_in), 0.0f);
      std::copy_n(segment.input.begin() + ptrdiff_t(column) * n_in, n_in, to);
    }
  }
  input_ = scene_.input_acts(input, 8);
  if (!case_.accumulate) {
    output_ = case_.output_f32 ? scene_.output(output_size_) : scene_.output_acts(output_size_);
    return;
  }
  if (case_.n_parts > 0) {
    const size_t n = size_t(case_.n_parts) * std::bit_ceil(case_.n_columns) * case_.segments.front().n_rows;
    parts_ = gpu_.device.create_storage(n * 4, gpu::Account::scratch, "parts");
    const std::vector<float> nothing(n, NAN);
    gpu_.device.write(parts_, 0, std::as_bytes(std::span(nothing)));
  }
  before_ = random_values(random_, output_size_, 4);
  if (!case_.output_f32) before_ = as_acts(gpu_, before_);
  output_ = case_.output_f32 ? scene_.in_place(before_) : scene_.in_place_acts(before_, 8);
}

void MatMulScene::run() {
  add_regions();
  scene_.run([&](const kernels::Context& context) {
    kernels::MatMul product;
    product.label = "test";
    for (const Segment& segment : segments_) {
      product.segments.push_back({segment.matrix.view(scene_, weights_, segment.packed_offset), segment.input_offset,
                                  segment.output_offset, segment.output_stride, segment.activation});
    }
    product.input = scene_.view(input_);
    product.output = scene_.view(output_);
    product.output_f32 = case_.output_f32;
    product.accumulate = case_.accumulate;
    product.of_squares = case_.of_squares;
    product.over_outputs = case_.over_outputs;
    product.mode = case_.mode;
    product.vec_team = case_.vec_team;
    product.tile = case_.tile;
    product.n_parts = case_.n_parts;
    if (case_.n_parts > 0) product.parts = parts_;
    product.binding_bytes_max = case_.binding_bytes_max;
    kernels::Context tuned = context;
    tuned.tuning = case_.tuning;
    kernels::matmul(tuned, gpu_.uniforms, product);
  });
}

Expected MatMulScene::expected() const {
  Expected expected;
  expected.add_untouched(output_size_);
  if (case_.accumulate) expected.values.assign(before_.begin(), before_.end());
  for (const Segment& segment : segments_) {
    const TestMatrix& matrix = segment.matrix;
    const kernels::MatMulResult result =
        kernels::matmul_ref({matrix.format, matrix.n_rows, matrix.n_in, matrix.rows}, segment.input,
                            case_.of_squares ? kernels::kSquareUnit : 1);
    for (size_t i = 0; i < result.sums.size(); ++i) {
      const size_t at = segment.output_offset + i / matrix.n_rows * segment.output_stride + i % matrix.n_rows;
      const double before = case_.accumulate ? before_[at] : 0;
      const double value = before + kernels::activate_ref(segment.activation, result.sums[i]);
      double error = sum_units(matrix.n_in) * kF32Unit * result.magnitudes[i];
      if (uses_tiles()) error += kTileError * result.magnitudes[i] + matrix.n_in * tile_underflow(case_);
      if (sums_in_f16()) error += kF16SumsError * result.magnitudes[i];
      if (segment.activation == Activation::squared_relu)
        error *= (2 * std::abs(result.sums[i]) + error) / kernels::kSquareUnit;
      else if (segment.activation != Activation::none)
        error += kActivationError;
      expected.values[at] = value;
      expected.tolerance[at] =
          error + f32_rounding(value) + (case_.output_f32 ? 0 : act_rounding(gpu_, std::abs(value) + error));
    }
  }
  return expected;
}

bool MatMulScene::uses_tiles() const {
  return gpu_.device.tier() == gpu::Tier::t2 && case_.mode == kernels::MatMulMode::fast &&
         std::bit_ceil(case_.n_columns) >= kernels::kMatMulTileColumnsMin;
}

bool MatMulScene::sums_in_f16() const { return uses_tiles() && gpu_.device.matrix_shape().f16_sums; }

void MatMulScene::check_against_oracle() const {
  const double nmse_max = uses_tiles() ? kNmseTile : case_.output_f32 ? kNmseF32 : nmse_max_of_acts(gpu_);
  check_close(output(), expected(), sums_in_f16() ? kNmseF16Sums : nmse_max);
}

std::vector<float> MatMulScene::column(size_t segment, uint32_t index) const {
  const std::vector<float> all = output();
  const auto begin = all.begin() + segments_[segment].output_offset + index * segments_[segment].output_stride;
  return {begin, begin + segments_[segment].matrix.n_rows};
}

}  // namespace ravenwing::test
