// Matrix products: several matrices of one format, each times its own input, in one dispatch.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gpu/uniforms.hpp"
#include "kernels/activation.hpp"
#include "kernels/step.hpp"
#include "kernels/weight_layout.hpp"

namespace ravenwing::kernels {

/// One matrix of a group: output[column] = activation(W input[column]), offsets in elements of their buffers.
struct MatMulSegment {
  MatrixView weights;
  uint32_t input_offset = 0;   // of column 0; columns are act_stride(n_in) apart
  uint32_t output_offset = 0;  // of column 0
  uint32_t output_stride = 0;  // from one column to the next
  Activation activation = Activation::none;
};

/// Which kernel computes a product. `exact` sums every output in one order whatever the number of columns.
enum class MatMulMode : uint8_t { fast, exact };

/// Who sums a row in matmul_vec on T1. A workgroup has more loads in flight for few rows; a subgroup needs no barrier,
/// and barriers are what software Vulkan is slow at. Automatic: by whether the adapter is software. T0 has workgroups
/// only.
enum class VecTeam : uint8_t { automatic, subgroup, workgroup };

/// How a workgroup of matmul_tile.wgsl (T2) is made up: subgroups along rows, columns and inputs, matrices of each
/// subgroup, the inputs of a slice that are staged at a time, a multiple of 16 and at most 64 (of all slices a
/// multiple of 32), and how many such steps are asked for together.
struct MatMulTile {
  uint32_t subgroups_m = 1, subgroups_n = 1, subgroups_k = 1;
  uint32_t tiles_m = 1, tiles_n = 1;
  uint32_t depth = 32;
  uint32_t sets = 1;
  bool operator==(const MatMulTile&) const = default;
};

/// SUBGROUPS_M/SUBGROUPS_N/SUBGROUPS_K/TILES_M/TILES_N/DEPTH/SETS.
std::string name(const MatMulTile& tile);

struct MatMul {
  std::string label;
  std::vector<MatMulSegment> segments;  // of any formats: one dispatch for each
  gpu::BufferView input;                // Act
  gpu::BufferView output;               // Act, or f32
  bool output_f32 = false;
  bool accumulate = false;    // output += ...; without activation
  bool of_squares = false;    // the input is squared_relu's: results are times kSquareUnit
  bool over_outputs = false;  // columns are the step's output rows rather than its tokens
  MatMulMode mode = MatMulMode::fast;
  VecTeam vec_team = VecTeam::automatic;
  std::optional<MatMulTile> tile;  // of T2; none: by the product's size
  /// Where tiles may leave parts of sums in f32 [part, column, row], to be added to an output in f32 by another
  /// dispatch: long rows are then shared by several workgroups. Empty: they are not.
  gpu::BufferView parts;
  uint32_t n_parts = 0;  // of T2, with `parts`; 0: by the product's size
  /// Bytes of weights that one dispatch may bind; a group that is larger is split by rows.
  uint64_t binding_bytes_max = 0;
};

/// Fast mode takes matmul_mat from this many columns on, and matmul_tile on T2.
inline constexpr uint32_t kMatMulMatColumnsMin = 16;
inline constexpr uint32_t kMatMulTileColumnsMin = 5;
/// Parts that a product leaves at most.
inline constexpr uint32_t kMatMulPartsMax = 8;

/// The tiles that products on a device choose from.
std::vector<MatMulTile> tiles_of(const gpu::Device& device);

/// Whether a device can run a tile: its memory, its invocations, its inputs in whole units.
bool tile_fits(const gpu::Device& device, const MatMulTile& tile);

/// The module of matmul_tile.wgsl that gives weights of a format in lots, and the octets of a lot.
struct LotModule {
  std::string_view name;
  uint32_t octets = 4;
};
LotModule lot_module(WeightFormat format);

void matmul(const Context& context, gpu::UniformArena& uniforms, const MatMul& product);

}  // namespace ravenwing::kernels
