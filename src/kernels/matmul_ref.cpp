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
