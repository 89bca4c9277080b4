// The CPU oracle of matrix products.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "format/weight_format.hpp"
#include "kernels/activation.hpp"

namespace ravenwing::kernels {

/// A matrix as its file has it, W [n_rows, n_in].
struct MatrixRows {
  format::WeightFormat format = format::WeightFormat::f32;
  uint32_t n_rows = 0, n_in = 0;
  std::span<const std::byte> rows;
};

/// Sums of products and of their absolute values, by which rounding errors are measured: [column, n_rows] each.
struct MatMulResult {
  std::vector<double> sums, magnitudes;
};

/// W x for every column x of `input` [column, n_in], times `unit`.
MatMulResult matmul_ref(const MatrixRows& matrix, std::span<const float> input, double unit = 1);

double activate_ref(Activation activation, double value);

}  // namespace ravenwing::kernels
