// src/kernels/weight_layout.cpp: the layout of each format; packing rows on the CPU.
#include "kernels/weight_layout.hpp"

#include <cstddef>
#include <cstring>
#include <vector>

#include "base/bytes.hpp"
#include "format/quant_blocks.hpp"

namespace ravenwing::kernels {
namespace {

using namespace format;

constexpr uint32_t kRowAlignment = 16;

// d alone keeps these blocks from being whole words.
constexpr Plane kQ8_0Planes[] = {{offsetof(BlockQ8_0, codes), 32}, {offsetof(BlockQ8_0, d), 2}};
constexpr Plane kQ4_0Planes[] = {{offsetof(BlockQ4_0, nibbles), 16}, {offsetof(BlockQ4_0, d), 2}};
constexpr Plane kQ5_0Planes[] = {{offsetof(BlockQ5_0, high_bits), 4 + 16}, {offsetof(BlockQ5_0, d), 2}};
constexpr Plane kQ3_KPlanes[] = {{0, 32 + 64 + 12}, {offsetof(BlockQ3_K, d), 2}};
constexpr Plane kQ6_KPlanes[] = {{offsetof(BlockQ6_K, nibbles), 128},
                                 {offsetof(BlockQ6_K, high_pairs), 64},
                                 {offsetof(BlockQ6_K, scales), 16},
                                 {offsetof(BlockQ6_K, d), 2}};
constexpr Plane kIq4_NlPlanes[] = {{offsetof(BlockIQ4_NL, nibbles), 16}, {offsetof(BlockIQ4_NL, d), 2}};
// The blocks as they are.
template <uint32_t kBytes>
constexpr Plane kWhole[] = {{0, kBytes}};

struct Layout {
  std::string_view module;
  std::span<const Plane> planes;
  bool together = false;  // rows by eights; the format's modules go by QUAD_STEP (rows.wgsl)
};

// In the order of WeightFormat.
constexpr Layout kLayouts[] = {{"format_f32", kWhole<4>},
                               {"format_f16", kWhole<2>},
                               {"format_bf16", kWhole<2>},
                               {"format_q8_0", kQ8_0Planes},
                               {"format_q4_0", kQ4_0Planes},
                               {"format_q4_1", kWhole<sizeof(BlockQ4_1)>},
                               {"format_q5_0", kQ5_0Planes},
                               {"format_q5_1", kWhole<sizeof(BlockQ5_1)>},
                               {"format_q2_k", kWhole<sizeof(BlockQ2_K)>},
                               {"format_q3_k", kQ3_KPlanes},
                               {"format_q4_k", kWhole<sizeof(BlockQ4_K)>, true},
                               {"format_q5_k", kWhole<sizeof(BlockQ5_K)>, true},
                               {"format_q6_k", kQ6_KPlanes},
                               {"format_iq4_nl", kIq4_NlPlanes},
                               {"format_iq4_xs", kWhole<sizeof(BlockIQ4_XS)>}};
static_assert(std::size(kLayouts) == std::size(kWeightFormats));

const Layout& layout(WeightFormat format) {
  RAVENWING_CHECK(size_t(format) < std::size(kLayouts));
  return kLayouts[size_t(format)];
}

/// Writes row_bytes() bytes.
void pack_row(WeightFormat format, uint32_t n_in, const std::byte* from, std::byte* to) {
  const auto& info = format::info(format);
  const uint32_t n_blocks = n_in / info.block_weights;
  const uint32_t file_bytes = n_blocks * info.block_bytes;
  std::memset(to + file_bytes, 0, row_bytes(format, n_in) - file_bytes);
  for (const Plane& plane : planes(format)) {
    for (uint32_t block = 0; block < n_blocks; ++block) {
      std::memcpy(to, from + size_t(block) * info.block_bytes + plane.begin, plane.size);
      to += plane.size;
    }
  }
}

}  // namespace

uint32_t row_bytes(WeightFormat format, uint32_t n_in) {
  const auto& info = format::info(format);
  const uint64_t n_padded = info.block_weights == 1 ? round_up(n_in, 8) : n_in;
  return narrow<uint32_t>(round_up(n_padded / info.block_weights * info.block_bytes, kRowAlignment));
}

uint32_t rows_together(WeightFormat format) { return layout(format).together ? kRowsTogetherMax : 1; }

uint64_t matrix_bytes(WeightFormat format, uint32_t n_rows, uint32_t n_in) {
  return round_up(n_rows, rows_together(format)) * row_bytes(format, n_in);
}

uint64_t rows_in(WeightFormat format, uint32_t n_in, uint64_t n_bytes) {
  const uint64_t together = rows_together(format);
  return n_bytes / (together * row_bytes(format, n_in)) * together;
}

void pack_rows(WeightFormat format, uint32_t n_rows, uint32_t n_in, const std::byte* from, std::byte* to) {
  const auto& info = format::info(format);
  const size_t file_bytes = size_t(n_in) / info.block_weights * info.block_bytes, n_bytes = row_bytes(format, n_in);
  const size_t together = rows_together(format), piece = together == 1 ? n_bytes : kRowAlignment;
  std::vector<std::byte> packed(n_bytes);
  for (size_t row = 0; row < n_rows; ++row) {
    pack_row(format, n_in, from + row * file_bytes, packed.data());
    std::byte* first = to + (row - row % together) * n_bytes + row % together * piece;
    for (size_t at = 0; at < n_bytes; at += piece) std::memcpy(first + at * together, &packed[at], piece);
  }
}

std::span<const Plane> planes(WeightFormat format) { return layout(format).planes; }

bool keeps_rows(WeightFormat format, uint32_t n_in) {
  const auto& info = format::info(format);
  return planes(format).size() == 1 && n_in / info.block_weights * info.block_bytes == row_bytes(format, n_in);
}

std::string_view format_module(WeightFormat format) { return layout(format).module; }

std::string_view rows_module(WeightFormat format) { return layout(format).together ? "rows_together" : "rows"; }

}  // namespace ravenwing::kernels
