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

/// Inputs as matmul_dot takes them: signed bytes times a scale for each 32 of them, those of one unit of a row's
/// weights.
struct ByteInputs {
  std::vector<float> values;  // [n_in]
  std::vector<float> doubts;  // what each may be off by, where its byte is a close call
};
ByteInputs byte_inputs_ref(format::WeightFormat format, std::span<const float> input);

double activate_ref(Activation activation, double value);

}  // namespace ravenwing::kernels
