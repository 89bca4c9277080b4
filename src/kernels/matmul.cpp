// src/kernels/matmul.cpp: grouping, windows of weights, choice of kernel.
#include "kernels/matmul.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bytes.hpp"
#include "kernels/tuning.hpp"

namespace ravenwing::kernels {
namespace {

constexpr uint32_t kSegmentsMax = 8;
constexpr uint32_t kMatRows = 256;  // of a workgroup of matmul_mat.wgsl
constexpr uint32_t kMatColumns = 16;
constexpr uint32_t kVecWorkgroupMin = 32;  // where a workgroup sums a row
constexpr uint32_t kVecWorkgroupMaxT0 = 64;
constexpr uint32_t kVecWorkgroupMax = 256;
constexpr uint32_t kVecSubgroups = 4;  // of a workgroup whose teams are subgroups
/// Exact mode always runs this one variant, so that one piece of machine code makes every sum.
constexpr uint32_t kExactColumns = 4;

/// Segment of matmul_segments.wgsl.
struct SegmentWords {
  uint32_t group_begin, n_rows, n_in, row_words;
  uint32_t weight_offset, input_offset, input_stride, activation;
  uint32_t output_offset, output_stride, k_begin, k_end;
};
static_assert(sizeof(SegmentWords) == 48);

struct Immediates {
  uint32_t n_segments, n_groups, n_first_groups, one_column;
  SegmentWords first;
};

/// Rows of one segment that fit a window of weights.
struct Piece {
  MatMulSegment segment;
  uint64_t begin = 0, end = 0;  // bytes in the weights' buffer
};

/// Splits a segment so that each piece, its start rounded down to what a binding may begin at, fits the limit. Rows
/// that lie together stay so.
std::vector<Piece> split(const MatMulSegment& segment, uint64_t limit, uint32_t alignment) {
  const MatrixView& weights = segment.weights;
  const uint64_t bytes_per_row = row_bytes(weights.format, weights.n_in);
  const uint64_t rows_max = rows_in(weights.format, weights.n_in, limit - std::min<uint64_t>(limit, alignment));
  if (rows_max == 0) {
    fail(ErrorCode::unsupported,
         "[matmul] {} bytes, a row and those that lie with it, exceed the device's binding limit of {} bytes",
         matrix_bytes(weights.format, 1, weights.n_in), limit);
  }
  std::vector<Piece> pieces;
  for (uint32_t row = 0, n_rows = 0; row < weights.n_rows; row += n_rows) {
    n_rows = uint32_t(std::min<uint64_t>(rows_max, weights.n_rows - row));
    Piece piece{segment};
    piece.segment.weights.n_rows = n_rows;
    piece.segment.output_offset += row;
    piece.begin = weights.rows.offset + row * bytes_per_row;
    piece.end = piece.begin + matrix_bytes(weights.format, n_rows, weights.n_in);
    pieces.push_back(piece);
  }
  return pieces;
}

struct Window {
  std::vector<Piece> pieces;
  uint64_t begin = 0, end = 0;
};

/// Packs pieces of one format and buffer, in order, into windows that a binding can hold.
std::vector<Window> windows(const std::vector<Piece>& pieces, uint64_t limit, uint32_t alignment) {
  std::vector<Window> result;
  for (const Piece& piece : pieces) {
    bool joined = false;
    if (!result.empty()) {
      Window& last = result.back();
      const MatrixView& weights = last.pieces.front().segment.weights;
      const uint64_t begin = std::min(last.begin, piece.begin / alignment * alignment);
      const uint64_t end = std::max(last.end, piece.end);
      joined = last.pieces.size() < kSegmentsMax && weights.format == piece.segment.weights.format &&
               weights.rows.buffer.Get() == piece.segment.weights.rows.buffer.Get() && end - begin <= limit;
      if (joined) {
        last.pieces.push_back(piece);
        last.begin = begin;
        last.end = end;
      }
    }
    if (!joined) result.push_back({{piece}, piece.begin / alignment * alignment, piece.end});
  }
  return result;
}

using Kernel = MatMulKernel;

/// The kernel for a product, and what one of its workgroups covers.
struct Shape {
  Kernel kernel = Kernel::mat;
  uint32_t rows = kMatRows;
  uint32_t columns = kMatColumns;
  MatMulTile tile = {};
  uint32_t n_parts = 1;  // of each row's inputs, for a workgroup each
  uint32_t lanes = 0;    // of a workgroup that sums a row; 0: by its inputs
};

VecTeam choose_team(const Context& context, VecTeam wanted) {
  if (context.tier() == gpu::Tier::t0) return VecTeam::workgroup;
  if (wanted != VecTeam::automatic) return wanted;
  return context.recorder.device().info().software ? VecTeam::subgroup : VecTeam::workgroup;
}

/// A tile and the microseconds that an H200 of 132 cores takes for 2560 inputs of Q4_K: where a core has one workgroup,
/// and as many as its memory holds. Those of 80 columns and more are from within steps, which weigh tiles otherwise
/// than chains of one product do.
struct TileCost {
  MatMulTile tile;
  uint32_t alone_us, full_us;
};
// Large ones read weights and inputs seldom, small ones keep many cores busy; those of five are for widths of 2560. Up
// to some 256 columns there is one workgroup to a core at best: of many subgroups, some of which multiply while others
// wait.
constexpr TileCost kTiles[] = {
    {{2, 2, 1, 5, 4, 32}, 92, 117},   {{2, 2, 1, 4, 5, 32}, 81, 105},   {{2, 2, 1, 4, 4, 32}, 72, 91},
    {{2, 3, 1, 5, 3, 64}, 82, 82},    {{2, 4, 1, 5, 2, 64, 2}, 69, 69}, {{2, 2, 2, 5, 3, 32, 2}, 59, 59},
    {{2, 4, 1, 4, 2, 64, 2}, 54, 54}, {{1, 3, 2, 5, 3, 32, 2}, 52, 52}, {{1, 3, 4, 4, 3, 16}, 42, 42},
    {{1, 3, 4, 5, 2, 32}, 37, 37},    {{2, 1, 4, 2, 5, 32, 2}, 30, 30}, {{1, 4, 2, 5, 2, 32}, 50, 50},
    {{2, 2, 1, 2, 2, 64, 4}, 31, 41}, {{2, 2, 2, 2, 2, 64, 2}, 24, 24}, {{5, 1, 2, 1, 2, 64, 2}, 25, 25},
    {{2, 1, 2, 1, 2, 64, 2}, 17, 21}, {{2, 1, 4, 1, 2, 64, 2}, 14, 14}, {{2, 1, 2, 1, 1, 64, 4}, 13, 21},
    {{1, 1, 4, 1, 1, 64, 2}, 8, 11}};
/// Numbers of parts that are tried, the inputs that a part is a multiple of, and what the dispatch that sums parts
/// takes at least.
constexpr uint32_t kParts[] = {1, 2, 4, kMatMulPartsMax}, kPartUnit = 256, kSumPartsNs = 9000;
/// Cores of such a GPU.
constexpr uint64_t kCores = 132;

/// Inputs that are staged at a time: a multiple of this, a lot of weights. Of them each subgroup multiplies at most 64,
/// after which sums in f16 are folded into f32.
constexpr uint32_t kTileStep = 32;
constexpr uint32_t kRowsTogether = 8;  // TOGETHER of matmul_tile.wgsl

/// Bytes of workgroup memory of matmul_tile.wgsl where rows and columns are staged.
uint64_t staged_bytes(const MatMulTile& tile, const gpu::MatrixShape& matrix) {
  const uint32_t lines = tile.subgroups_m * tile.tiles_m * matrix.m + tile.subgroups_n * tile.tiles_n * matrix.n;
  return uint64_t(lines) * (tile.subgroups_k * tile.depth / 8 + 1) * 16;
}

/// Elements of one matrix of each subgroup.
uint64_t matrix_elements(const MatMulTile& tile, const gpu::MatrixShape& matrix) {
  return uint64_t(tile.subgroups_m) * tile.subgroups_n * tile.subgroups_k * matrix.m * matrix.n;
}

/// Matrices of a subgroup whose sums go out together, through that memory.
uint32_t stored_together(const MatMulTile& tile, const gpu::MatrixShape& matrix) {
  uint32_t n = tile.tiles_n;
  while (n > 1 && (tile.tiles_n % n != 0 || n * matrix_elements(tile, matrix) * 4 > staged_bytes(tile, matrix))) --n;
  return n;
}

/// Bytes of workgroup memory of matmul_tile.wgsl.
uint64_t workgroup_bytes(const MatMulTile& tile, const gpu::MatrixShape& matrix) {
  const uint64_t elements = matrix_elements(tile, matrix);
  return std::max(staged_bytes(tile, matrix), elements * stored_together(tile, matrix) * 4) +
         (matrix.f16_sums ? elements * 2 : 0);
}

uint32_t lanes_of(const MatMulTile& tile, const gpu::Device& device) {
  return tile.subgroups_m * tile.subgroups_n * tile.subgroups_k * device.info().subgroup_size_max;
}

/// Tiles that the device can run, of fewer inputs at a time where its workgroup memory is small.
std::vector<TileCost> tile_costs(const gpu::Device& device) {
  const DeviceLimits& limits = device.limits();
  std::vector<TileCost> costs;
  for (TileCost cost : kTiles) {
    MatMulTile& tile = cost.tile;
    while (workgroup_bytes(tile, device.matrix_shape()) > limits.workgroup_storage_bytes_max &&
           tile.depth * tile.subgroups_k > kTileStep)
      tile.depth /= 2;
    // Each invocation stages the same place of several rows and columns.
    const uint32_t n_lanes = lanes_of(tile, device), step = tile.depth * tile.subgroups_k;
    const bool even = n_lanes % (kRowsTogether * step / 32) == 0 && n_lanes % (step / 8) == 0 &&
                      tile.depth % device.matrix_shape().k == 0;
    if (even && n_lanes <= limits.invocations_per_workgroup_max &&
        workgroup_bytes(tile, device.matrix_shape()) <= limits.workgroup_storage_bytes_max)
      costs.push_back(cost);
  }
  return costs;
}

Shape shape_of(const MatMulTile& tile, const gpu::MatrixShape& matrix) {
  return {Kernel::tile, tile.subgroups_m * tile.tiles_m * matrix.m, tile.subgroups_n * tile.tiles_n * matrix.n, tile};
}

uint64_t workgroups(const MatMul& product, const Shape& shape, uint32_t n_columns) {
  uint64_t n = 0;
  for (const MatMulSegment& segment : product.segments) n += divide_up(segment.weights.n_rows, shape.rows);
  return n * divide_up(n_columns, shape.columns);
}

uint64_t tile_us(const gpu::Device& device, const TileCost& cost, uint64_t n_workgroups) {
  const uint64_t of_core = std::max<uint64_t>(
      device.limits().workgroup_storage_bytes_max / workgroup_bytes(cost.tile, device.matrix_shape()), 1);
  const uint64_t us = n_workgroups / (of_core * kCores) * cost.full_us, rest = n_workgroups % (of_core * kCores);
  if (rest == 0) return us;
  const uint64_t others = divide_up(rest, kCores) - 1;
  return us + cost.alone_us + (others == 0 ? 0 : (cost.full_us - cost.alone_us) * others / (of_core - 1));
}

/// Whether each row's inputs can be split in so many parts, of whole blocks and in a segment each.
bool can_split(const MatMul& product, uint32_t n_parts, uint32_t n_columns) {
  if (n_parts == 1) return true;
  if (product.segments.size() != 1 || !product.accumulate || !product.output_f32 || product.over_outputs) return false;
  const MatMulSegment& segment = product.segments.front();
  const uint64_t part_bytes = uint64_t(segment.weights.n_rows) * n_columns * 4;
  return n_parts <= kSegmentsMax && segment.weights.n_in % (n_parts * kPartUnit) == 0 &&
         segment.weights.n_rows % 4 == 0 && segment.output_offset % 4 == 0 && segment.output_stride % 4 == 0 &&
         part_bytes * n_parts <= product.parts.size;
}

Shape tile_shape(const Context& context, const MatMul& product, uint32_t n_columns) {
  const gpu::Device& device = context.recorder.device();
  const gpu::MatrixShape matrix = device.matrix_shape();
  std::vector<TileCost> costs = tile_costs(device);
  if (product.tile) costs = {{*product.tile, 1, 1}};
  uint64_t n_in = 0;  // of the longest row, which the others wait for
  for (const MatMulSegment& segment : product.segments) n_in = std::max<uint64_t>(n_in, segment.weights.n_in);
  Shape best;
  uint64_t best_ns = UINT64_MAX;
  for (const TileCost& cost : costs) {
    for (const uint32_t n_parts : kParts) {
      if (!can_split(product, n_parts, n_columns) || (product.n_parts > 0 && product.n_parts != n_parts)) continue;
      Shape shape = shape_of(cost.tile, matrix);
      shape.n_parts = n_parts;
      const uint64_t of_2560 = tile_us(device, cost, n_parts * workgroups(product, shape, n_columns));
      const uint64_t ns =
          1000 * of_2560 * n_in / n_parts / 2560 + (n_parts > 1 ? kSumPartsNs + 5 * n_columns * n_parts : 0);
      if (ns >= best_ns) continue;
      best = shape;
      best_ns = ns;
    }
  }
  if (best_ns == UINT64_MAX)
    fail(ErrorCode::unsupported, "[matmul] {} of {} inputs is not split into {} parts", product.label, n_in,
         product.n_parts);
  return best;
}

/// What was measured to be fastest, where nothing else is asked for; the tuner's products do not share rows.
const MatMulChoice* tuned_choice(const Context& context, const MatMul& product, WeightFormat format,
                                 uint32_t n_columns) {
  const bool shared = context.tier() == gpu::Tier::t2 && n_columns >= kMatMulTileColumnsMin && product.parts.size > 0;
  if (context.tuning == nullptr || product.mode == MatMulMode::exact || product.tile || shared ||
      product.vec_team != VecTeam::automatic)
    return nullptr;
  return context.tuning->find(product, format, n_columns);
}

Shape shape_of(const MatMulChoice& choice, const gpu::MatrixShape& matrix) {
  if (choice.kernel == Kernel::tile) return shape_of(choice.tile, matrix);
  if (choice.kernel == Kernel::mat) return {};
  return {.kernel = Kernel::vec, .rows = 4 * choice.quads, .columns = choice.columns, .lanes = choice.lanes};
}

Shape choose_shape(const Context& context, const MatMul& product, VecTeam team, uint32_t n_columns) {
  const uint32_t vec_rows = 4 * (team == VecTeam::subgroup ? kVecSubgroups : 1);
  if (product.mode == MatMulMode::exact) return {Kernel::vec, vec_rows, kExactColumns};
  if (context.tier() == gpu::Tier::t2 && n_columns >= kMatMulTileColumnsMin)
    return tile_shape(context, product, n_columns);
  // The barriers of eight columns cost software Vulkan more than half a tile that is computed for nothing.
  const bool slow_barriers =
      context.recorder.device().info().software && team == VecTeam::workgroup && product.vec_team == VecTeam::automatic;
  if (n_columns >= (slow_barriers ? 5 : kMatMulMatColumnsMin)) return {};
  if (n_columns <= 2) return {Kernel::vec, vec_rows, std::max(n_columns, 1u)};
  return {Kernel::vec, vec_rows, n_columns <= 4 ? 4u : 8u};
}

/// n_in_max: of the product's longest row. A workgroup has an invocation for each unit of it, within bounds.
gpu::ShaderVariant vec_variant(const Context& context, VecTeam team, const Shape& shape, uint32_t n_in_max) {
  gpu::ShaderVariant variant = context.variant("matmul_vec");
  const bool t0 = context.tier() == gpu::Tier::t0;
  const uint32_t n_units = uint32_t(divide_up(n_in_max, 32));
  // Sums on T0 halve the workgroup again and again.
  uint32_t workgroup = std::clamp(t0 ? std::bit_floor(n_units) : uint32_t(round_up(n_units, kVecWorkgroupMin)),
                                  kVecWorkgroupMin, t0 ? kVecWorkgroupMaxT0 : kVecWorkgroupMax);
  if (shape.lanes > 0) workgroup = shape.lanes;
  // Subgroups of every size the device may choose share the rows; the workgroup is sized for its largest.
  if (team == VecTeam::subgroup)
    workgroup = std::min(kVecSubgroups * context.recorder.device().info().subgroup_size_max, 256u);
  variant.modules.emplace_back("team", team == VecTeam::subgroup ? "team_subgroup"
                                       : t0                      ? "team_workgroup"
                                                                 : "team_workgroup_subgroups");
  variant.constants.emplace_back("WORKGROUP_SIZE", workgroup);
  variant.constants.emplace_back("QUADS", shape.rows / 4);
  variant.constants.emplace_back("COLUMNS", shape.columns);
  return variant;
}

gpu::ShaderVariant tile_variant(const Context& context, const MatMulTile& tile, WeightFormat format, uint32_t n_in) {
  const gpu::Device& device = context.recorder.device();
  gpu::ShaderVariant variant = context.variant("matmul_tile");
  const gpu::MatrixShape matrix = device.matrix_shape();
  const uint32_t rows = tile.subgroups_m * tile.tiles_m * matrix.m,
                 columns = tile.subgroups_n * tile.tiles_n * matrix.n;
  const uint32_t step = tile.depth * tile.subgroups_k;
  const uint32_t lanes = lanes_of(tile, device);
  const LotModule lot = lot_module(format);
  variant.modules.emplace_back("lot", lot.name);
  variant.constants.insert(
      variant.constants.end(),
      {{"MAT_M", matrix.m},
       {"MAT_N", matrix.n},
       {"MAT_K", matrix.k},
       {"SUBGROUP_SIZE", device.info().subgroup_size_max},
       {"SUBGROUPS_M", tile.subgroups_m},
       {"SUBGROUPS_N", tile.subgroups_n},
       {"SUBGROUPS_K", tile.subgroups_k},
       {"TILES_M", tile.tiles_m},
       {"TILES_N", tile.tiles_n},
       {"DEPTH", tile.depth},
       {"STORE_N", stored_together(tile, matrix)},
       {"SETS", std::min(tile.sets, uint32_t(divide_up(n_in, step)))},
       {"DIRECT", !matrix.f16_sums},
       {"FOLD", matrix.f16_sums},
       {"LOT_OCTETS", lot.octets},
       {"LOTS_EACH", divide_up(rows * step / 8 / lot.octets, lanes)},
       {"OCTETS_EACH", divide_up(columns * step / 8, lanes)},
       {"MATRICES_K", tile.depth / matrix.k},
       {"STORES_EACH", divide_up(matrix.m * matrix.n, device.info().subgroup_size_max * tile.subgroups_k)}});
  return variant;
}

gpu::Work work_of(const Window& window, uint32_t n_columns) {
  gpu::Work work;
  for (const Piece& piece : window.pieces) {
    const MatrixView& weights = piece.segment.weights;
    work.bytes += piece.end - piece.begin;
    work.flops += uint64_t(2) * weights.n_rows * weights.n_in * n_columns;
  }
  return work;
}

void sum_parts(const Context& context, const MatMul& product, uint32_t n_parts, uint32_t n_columns) {
  constexpr uint32_t kWorkgroupSize = 256;
  struct SumImmediates {
    uint32_t n_rows, part_quads, output_quads, stride_quads;
  };
  const MatMulSegment& segment = product.segments.front();
  const uint32_t n_rows = segment.weights.n_rows;
  gpu::ShaderVariant variant{.shader = "sum_parts"};
  variant.constants = {
      {"TOKENS_MAX", context.buffers.tokens_max}, {"PARTS", n_parts}, {"OF_SQUARES", product.of_squares}};
  context.recorder.dispatch(
      product.label + " sum", variant,
      {gpu::read(context.buffers.step), gpu::read(product.parts), gpu::read_write(product.output)},
      SumImmediates{n_rows, n_columns * n_rows / 4, segment.output_offset / 4, segment.output_stride / 4},
      gpu::Grid{uint32_t(divide_up(n_rows / 4, kWorkgroupSize)), n_columns},
      {uint64_t(n_rows) * n_columns * 4 * (n_parts + 2)});
}

void dispatch_window(const Context& context, gpu::UniformArena& uniforms, const MatMul& product, const Window& window) {
  const uint32_t n_columns = product.over_outputs ? context.n_outputs : context.n_tokens;
  const MatrixView& weights = window.pieces.front().segment.weights;
  const MatMulChoice* tuned = tuned_choice(context, product, weights.format, n_columns);
  const VecTeam team = choose_team(context, tuned ? tuned->team : product.vec_team);
  const Shape shape = tuned ? shape_of(*tuned, context.recorder.device().matrix_shape())
                            : choose_shape(context, product, team, n_columns);
  // Of the whole product, so that the order of sums does not depend on how it was split.
  uint32_t n_in_max = 0;
  for (const MatMulSegment& segment : product.segments) n_in_max = std::max(n_in_max, segment.weights.n_in);
  SegmentWords words[kSegmentsMax] = {};
  uint32_t n_groups = 0, n_words = 0;
  for (const Piece& piece : window.pieces) {
    const MatMulSegment& segment = piece.segment;
    for (uint32_t part = 0; part < shape.n_parts; ++part) {
      const bool whole = shape.n_parts == 1;
      const uint32_t k_each = segment.weights.n_in / shape.n_parts;
      words[n_words++] = {n_groups,
                          segment.weights.n_rows,
                          segment.weights.n_in,
                          segment.weights.row_words(),
                          narrow<uint32_t>((piece.begin - window.begin) / 4),
                          segment.input_offset,
                          act_stride(segment.weights.n_in),
                          uint32_t(segment.activation),
                          whole ? segment.output_offset : part * n_columns * segment.weights.n_rows,
                          whole ? segment.output_stride : segment.weights.n_rows,
                          part * k_each,
                          whole ? segment.weights.n_in : (part + 1) * k_each};
      n_groups += uint32_t(divide_up(segment.weights.n_rows, shape.rows));
    }
  }
  const bool in_parts = shape.n_parts > 1;
  gpu::ShaderVariant variant = shape.kernel == Kernel::tile
                                   ? tile_variant(context, shape.tile, weights.format, n_in_max)
                               : shape.kernel == Kernel::mat ? context.variant("matmul_mat")
                                                             : vec_variant(context, team, shape, n_in_max);
  variant.modules.emplace_back("format", format_module(weights.format));
  variant.modules.emplace_back("rows", rows_module(weights.format));
  variant.modules.emplace_back("out", product.output_f32 ? "out_f32" : "out_act");
  variant.constants.emplace_back("OVER_OUTPUTS", product.over_outputs);
  variant.constants.emplace_back("ACCUMULATE", product.accumulate && !in_parts);
  variant.constants.emplace_back("OF_SQUARES", product.of_squares && !in_parts);
  gpu::BufferView weights_view = weights.rows;
  weights_view.offset = window.begin;
  weights_view.size = window.end - window.begin;
  context.recorder.dispatch(
      fmt::format("{} {}", product.label, format::info(weights.format).name), variant,
      {gpu::read(context.buffers.step), gpu::uniform(uniforms.store(std::as_bytes(std::span(words)))),
       gpu::read(weights_view), gpu::read(product.input), gpu::read_write(in_parts ? product.parts : product.output)},
      Immediates{n_words, n_groups, n_words > 1 ? words[1].group_begin : n_groups, n_columns == 1, words[0]},
      gpu::folded_grid(n_groups, uint32_t(divide_up(n_columns, shape.columns))), work_of(window, n_columns));
  if (in_parts) sum_parts(context, product, shape.n_parts, n_columns);
}

}  // namespace

LotModule lot_module(WeightFormat format) {
  switch (format) {
    case WeightFormat::f16:
      return {"lot_f16", 1};
    case WeightFormat::q8_0:
      return {"lot_q8_0"};
    case WeightFormat::q4_0:
      return {"lot_q4_0"};
    case WeightFormat::q4_k:
      return {"lot_q4_k"};
    case WeightFormat::q5_k:
      return {"lot_q5_k"};
    case WeightFormat::q6_k:
      return {"lot_q6_k"};
    default:
      return {"lot_units"};
  }
}

std::string name(const MatMulTile& tile) {
  return fmt::format("{}/{}/{}/{}/{}/{}/{}", tile.subgroups_m, tile.subgroups_n, tile.subgroups_k, tile.tiles_m,
                     tile.tiles_n, tile.depth, tile.sets);
}

std::vector<MatMulTile> tiles_of(const gpu::Device& device) {
  std::vector<MatMulTile> tiles;
  for (const TileCost& cost : tile_costs(device)) tiles.push_back(cost.tile);
  return tiles;
}

bool tile_fits(const gpu::Device& device, const MatMulTile& tile) {
  const uint64_t subgroups = uint64_t(tile.subgroups_m) * tile.subgroups_n * tile.subgroups_k;
  return subgroups * tile.tiles_m * tile.tiles_n > 0 && tile.sets > 0 && tile.sets <= 8 && tile.depth % 16 == 0 &&
         tile.depth <= 64 && tile.depth * tile.subgroups_k % kTileStep == 0 &&
         subgroups * device.info().subgroup_size_max <= device.limits().invocations_per_workgroup_max &&
         workgroup_bytes(tile, device.matrix_shape()) <= device.limits().workgroup_storage_bytes_max;
}

void matmul(const Context& context, gpu::UniformArena& uniforms, const MatMul& product) {
  const DeviceLimits& limits = context.recorder.device().limits();
  const uint64_t limit = std::min(product.binding_bytes_max ? product.binding_bytes_max : limits.binding_bytes_max,
                                  limits.binding_bytes_max);
  std::vector<Piece> pieces;
  for (const MatMulSegment& segment : product.segments) {
    RAVENWING_CHECK(!product.accumulate || segment.activation == Activation::none);
    for (Piece& piece : split(segment, limit, limits.binding_alignment)) pieces.push_back(std::move(piece));
  }
  // One dispatch reads one format: pieces of a format stand together, otherwise in the order given.
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Piece& a, const Piece& b) { return a.segment.weights.format < b.segment.weights.format; });
  const std::vector<Window> all = windows(pieces, limit, limits.binding_alignment);
  MatMul whole = product;
  if (all.size() > 1) whole.parts = {};
  for (const Window& window : all) dispatch_window(context, uniforms, whole, window);
}

}  // namespace ravenwing::kernels
