// How weights lie in GPU memory. A row is whole pieces of 16 bytes, quads of words. Rows lie one after another or,
// of some formats, eight together: quad q of rows 8 g to 8 g + 7 are eight neighbouring quads, so that invocations that
// read the same place of neighbouring rows read whole lines of memory; the last eight take their space even where some
// are missing. Either way a matrix can be split where rows that lie together end.
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

/// How many rows of a format lie together; 1: they lie one after another.
uint32_t rows_together(WeightFormat format);
inline constexpr uint32_t kRowsTogetherMax = 8;

/// Bytes of n_rows rows, the first of which is the first of those that lie together.
uint64_t matrix_bytes(WeightFormat format, uint32_t n_rows, uint32_t n_in);

/// How many rows fit so many bytes, cut where rows that lie together end.
uint64_t rows_in(WeightFormat format, uint32_t n_in, uint64_t n_bytes);

/// A part of every block of a file; in GPU memory the parts of a row's blocks lie one after another.
struct Plane {
  uint32_t begin, size;  // bytes within a block
};
inline constexpr uint32_t kPlanesMax = 4;

/// In the order in which they lie. One that is the whole block: the blocks are as in the file.
std::span<const Plane> planes(WeightFormat format);

/// Turns rows of the file (whole blocks, any alignment) into that layout, in matrix_bytes() bytes, of which those of
/// missing rows are left as they are.
void pack_rows(WeightFormat format, uint32_t n_rows, uint32_t n_in, const std::byte* from, std::byte* to);

/// Whether the bytes of a row of n_in weights are the file's, in their order.
bool keeps_rows(WeightFormat format, uint32_t n_in);

/// The WGSL modules that read a row of a format, and that say where a matrix has its rows (the role "rows").
std::string_view format_module(WeightFormat format);
std::string_view rows_module(WeightFormat format);

/// A matrix in GPU memory, W [n_rows, n_in]; `rows` is matrix_bytes(), aligned to 16 bytes.
struct MatrixView {
  WeightFormat format = WeightFormat::f32;
  uint32_t n_rows = 0, n_in = 0;
  gpu::BufferView rows;

  uint32_t row_words() const { return row_bytes(format, n_in) / 4; }
};

}  // namespace ravenwing::kernels
