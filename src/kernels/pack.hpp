// Weights on their way: from a file's bytes in GPU memory to the layout that kernels read.
#pragma once

#include "gpu/plan.hpp"
#include "kernels/weight_layout.hpp"

namespace ravenwing::kernels {

/// Rows of a matrix [n_rows, n_in] among the bytes of a file. Strides are in bytes; the blocks of plain floats are
/// single weights, and those of a transposed matrix lie far apart.
struct FileRows {
  WeightFormat format = WeightFormat::f32;
  uint32_t n_rows = 0, n_in = 0;
  gpu::BufferView bytes;  // begins where a binding can
  uint64_t first = 0;     // byte of the first row
  uint64_t row_stride = 0, block_stride = 0;
};

/// Writes `from` into `to`, of the same format, from row `row_begin` on.
void pack(gpu::Recorder& recorder, const FileRows& from, const MatrixView& to, uint32_t row_begin);

/// Writes `from` into `to`, from row `row_begin` on, in f16 (rounded to nearest even) or f32.
void convert(gpu::Recorder& recorder, const MatrixView& from, const MatrixView& to, uint32_t row_begin);

}  // namespace ravenwing::kernels
