// src/kernels/matmul_ref.cpp: plain loops over decoded rows.
#include "kernels/matmul_ref.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"

namespace ravenwing::kernels {

MatMulResult matmul_ref(const MatrixRows& matrix, std::span<const float> input, double unit) {
  const auto& info = format::info(matrix.format);
  const size_t n_in = matrix.n_in, n_columns = input.size() / n_in;
  const size_t row_bytes = n_in / info.block_weights * info.block_bytes;
  RAVENWING_CHECK(input.size() == n_columns * n_in && matrix.rows.size() == row_bytes * matrix.n_rows);
  MatMulResult result{std::vector<double>(n_columns * matrix.n_rows), std::vector<double>(n_columns * matrix.n_rows)};
  std::vector<float> row(n_in);
  for (size_t i = 0; i < matrix.n_rows; ++i) {
    format::dequantize(matrix.format, matrix.rows.data() + i * row_bytes, row);
    for (size_t column = 0; column < n_columns; ++column) {
      double sum = 0, magnitude = 0;
      for (size_t k = 0; k < n_in; ++k) {
        const double x = input[column * n_in + k];
        const double product = double(row[k]) * x * unit;
        sum += product;
        magnitude += std::abs(product);
      }
      result.sums[column * matrix.n_rows + i] = sum;
      result.magnitudes[column * matrix.n_rows + i] = magnitude;
    }
  }
  return result;
}

ByteInputs byte_inputs_ref(format::WeightFormat format, std::span<const float> input) {
  // Units of these are halves of two neighbouring runs of 32 weights.
  const bool interleaved = format == format::WeightFormat::q4_k || format == format::WeightFormat::q5_k;
  const size_t between = interleaved ? 32 : 16;
  ByteInputs result{std::vector<float>(input.size()), std::vector<float>(input.size())};
  for (size_t unit = 0; unit < input.size() / 32; ++unit) {
    const size_t first = interleaved ? unit / 2 * 64 + unit % 2 * 16 : unit * 32;
    const auto at = [&](size_t i) { return first + i / 16 * between + i % 16; };
    float most = 0;
    for (size_t i = 0; i < 32; ++i) most = std::max(most, std::abs(input[at(i)]));
    for (size_t i = 0; i < 32 && most > 0; ++i) {
      const double code = input[at(i)] * (127.0 / most);
      result.values[at(i)] = float(std::nearbyint(code) * (most / 127.0));
      const double from_tie = std::abs(code - std::floor(code) - 0.5);
      result.doubts[at(i)] = from_tie < 1e-4 ? most / 127 : 0;
    }
  }
  return result;
}

double activate_ref(Activation activation, double value) {
  switch (activation) {
    case Activation::none:
      return value;
    case Activation::tanh:
      return std::tanh(value);
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-value));
    case Activation::squared_relu:
      return std::max(value, 0.0) * std::max(value, 0.0) / kSquareUnit;
  }
  RAVENWING_CHECK(false);
  return 0;
}

}  // namespace ravenwing::kernels
