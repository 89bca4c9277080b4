// How a row of weights lies in GPU memory. Rows are the unit: each starts on 16 bytes and stands alone, so that a
// matrix can be split by rows anywhere.
#pragma once

#include <cstdint>
#include <span>

#include "format/weight_format.hpp"
#include "gpu/device.hpp"

namespace ravenwing::kernels {

using format::WeightFormat;

/// Bytes of a row of n_in weights, padded to 16 bytes:
///   f32, f16, bf16                            padded with zeros to a multiple of 8 weights
///   q4_1, q5_1, q2_k, q4_k, q5_k, iq4_xs      the file's blocks, which are whole words
///   q8_0, q4_0, q5_0, q3_k, iq4_nl            the file's blocks without their d, then the d of all blocks
///   q6_k                                      nibbles, high pairs, scales, d, each of all blocks
/// format_*.wgsl read this.
uint32_t row_bytes(WeightFormat format, uint32_t n_in);

/// A part of every block of a file; in GPU memory the parts of a row's blocks lie one after another.
struct Plane {
  uint32_t begin, size;  // bytes within a block
};
inline constexpr uint32_t kPlanesMax = 4;

/// In the order in which they lie. One that is the whole block: the blocks are as in the file.
std::span<const Plane> planes(WeightFormat format);

/// Turns one row of the file (whole blocks, any alignment) into that layout; writes row_bytes() bytes.
void pack_row(WeightFormat format, uint32_t n_in, const std::byte* from, std::byte* to);

/// Whether rows of n_in weights lie as in the file.
bool keeps_rows(WeightFormat format, uint32_t n_in);

/// The WGSL module that reads rows of a format.
std::string_view format_module(WeightFormat format);

/// A matrix in GPU memory, W [n_rows, n_in]; `rows` starts at its first row and is aligned to 16 bytes.
struct MatrixView {
  WeightFormat format = WeightFormat::f32;
  uint32_t n_rows = 0, n_in = 0;
  gpu::BufferView rows;

  uint32_t row_words() const { return row_bytes(format, n_in) / 4; }
};

}  // namespace ravenwing::kernels
