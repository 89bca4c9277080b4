// src/kernels/weight_layout.cpp: packing rows.
#include "kernels/weight_layout.hpp"

#include <cstring>

#include "base/bytes.hpp"

namespace ravenwing::kernels {
namespace {

constexpr uint32_t kRowAlignment = 16;

/// A field of every block, gathered into one plane.
struct Plane {
  uint32_t begin, size;  // within a block of the file
};

void gather_planes(uint32_t n_blocks, uint32_t block_bytes, std::span<const Plane> planes, const std::byte* from, std::byte* to) {
  for (const Plane& plane : planes) {
    for (uint32_t block = 0; block < n_blocks; ++block) {
      std::memcpy(to, from + size_t(block) * block_bytes + plane.begin, plane.size);
      to += plane.size;
    }
  }
}

constexpr Plane kQ8_0Planes[] = {{2, 32}, {0, 2}};
constexpr Plane kQ6_KPlanes[] = {{0, 128}, {128, 64}, {192, 16}, {208, 2}};

}  // namespace

uint32_t row_bytes(WeightFormat format, uint32_t n_in) {
  const auto& info = format::info(format);
  const uint64_t n_padded = info.block_weights == 1 ? round_up(n_in, 8) : n_in;
  return narrow<uint32_t>(round_up(n_padded / info.block_weights * info.block_bytes, kRowAlignment));
}

void pack_row(WeightFormat format, uint32_t n_in, const std::byte* from, std::byte* to) {
  const auto& info = format::info(format);
  const uint32_t n_blocks = n_in / info.block_weights;
  const uint32_t file_bytes = n_blocks * info.block_bytes;
  std::memset(to + file_bytes, 0, row_bytes(format, n_in) - file_bytes);
  switch (format) {
    case WeightFormat::q8_0: return gather_planes(n_blocks, info.block_bytes, kQ8_0Planes, from, to);
    case WeightFormat::q6_k: return gather_planes(n_blocks, info.block_bytes, kQ6_KPlanes, from, to);
    default: std::memcpy(to, from, file_bytes);
  }
}

std::string_view format_module(WeightFormat format) {
  switch (format) {
    case WeightFormat::f32: return "format_f32";
    case WeightFormat::f16: return "format_f16";
    case WeightFormat::bf16: return "format_bf16";
    case WeightFormat::q8_0: return "format_q8_0";
    case WeightFormat::q4_k: return "format_q4_k";
    case WeightFormat::q6_k: return "format_q6_k";
  }
  RAVENWING_CHECK(false);
  return {};
}

}  // namespace ravenwing::kernels
