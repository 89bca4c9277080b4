// src/kernels/pack.cpp
#include "kernels/pack.hpp"

#include "base/bytes.hpp"

namespace ravenwing::kernels {
namespace {

constexpr uint32_t kWorkgroupSize = 256;

/// What holds rows of a matrix and those that lie together with them, begun where a binding can: the word in it of the
/// first of all these, and which one after that is the first of the rows.
struct Window {
  gpu::BufferView view;
  uint32_t first_word, row_first;
};

Window window_of(const gpu::Recorder& recorder, const MatrixView& matrix, uint32_t row_begin, uint32_t n_rows) {
  RAVENWING_CHECK(row_begin + n_rows <= matrix.n_rows);
  const uint64_t alignment = recorder.device().limits().binding_alignment;
  const uint32_t row_first = row_begin % rows_together(matrix.format);
  const uint64_t begin = matrix.rows.offset + (row_begin - row_first) * uint64_t(matrix.row_words()) * 4;
  gpu::BufferView view = matrix.rows;
  view.offset = begin / alignment * alignment;
  view.size = begin - view.offset + matrix_bytes(matrix.format, row_first + n_rows, matrix.n_in);
  return {view, uint32_t((begin - view.offset) / 4), row_first};
}

/// Whether pack_quads.wgsl can do it.
bool are_quads(const FileRows& rows) {
  return rows_together(rows.format) > 1 && keeps_rows(rows.format, rows.n_in) && rows.first % 16 == 0 &&
         rows.row_stride % 16 == 0 && rows.block_stride == format::info(rows.format).block_bytes;
}

void pack_quads(gpu::Recorder& recorder, const FileRows& from, const Window& target) {
  struct Immediates {
    uint32_t n_quads, row_quads, first, row_stride, to, row_first, row_end;
  };
  const uint32_t row_quads = row_bytes(from.format, from.n_in) / 16, row_end = target.row_first + from.n_rows;
  const uint32_t n_quads = narrow<uint32_t>(matrix_bytes(from.format, row_end, from.n_in) / 16);
  gpu::ShaderVariant variant{"pack_quads"};
  variant.constants.emplace_back("TOGETHER", rows_together(from.format));
  recorder.dispatch(
      fmt::format("pack {}", format::info(from.format).name), variant,
      {gpu::read(from.bytes), gpu::read_write(target.view)},
      Immediates{n_quads, row_quads, narrow<uint32_t>(from.first / 16), narrow<uint32_t>(from.row_stride / 16),
                 target.first_word / 4, target.row_first, row_end},
      gpu::folded_grid(divide_up(n_quads, kWorkgroupSize)));
}

}  // namespace

void pack(gpu::Recorder& recorder, const FileRows& from, const MatrixView& to, uint32_t row_begin) {
  RAVENWING_CHECK(from.format == to.format && from.n_in == to.n_in);
  const Window target = window_of(recorder, to, row_begin, from.n_rows);
  if (are_quads(from)) return pack_quads(recorder, from, target);
  struct Immediates {
    uint32_t planes[kPlanesMax];
    uint32_t n_words, row_words, n_blocks, first, row_stride, block_stride, to, row_first;
  };
  const auto& info = format::info(from.format);
  Immediates immediates{};
  for (uint32_t i = 0; const Plane& plane : planes(from.format))
    immediates.planes[i++] = plane.begin | plane.size << 16;
  immediates.n_words = from.n_rows * to.row_words();
  immediates.row_words = to.row_words();
  immediates.n_blocks = from.n_in / info.block_weights;
  immediates.first = narrow<uint32_t>(from.first);
  immediates.row_stride = narrow<uint32_t>(from.row_stride);
  immediates.block_stride = narrow<uint32_t>(from.block_stride);
  immediates.to = target.first_word;
  immediates.row_first = target.row_first;
  gpu::ShaderVariant variant{"pack"};
  variant.modules.emplace_back("rows", rows_module(from.format));
  recorder.dispatch(fmt::format("pack {}", info.name), variant, {gpu::read(from.bytes), gpu::read_write(target.view)},
                    immediates, gpu::folded_grid(divide_up(immediates.n_words, kWorkgroupSize)));
}

void convert(gpu::Recorder& recorder, const MatrixView& from, const MatrixView& to, uint32_t row_begin) {
  RAVENWING_CHECK(from.n_in == to.n_in);
  RAVENWING_CHECK(to.format == WeightFormat::f16 || to.format == WeightFormat::f32);
  struct Immediates {
    uint32_t n_octets, row_octets, n_in, row_words, from, to;
  };
  gpu::ShaderVariant variant{"convert"};
  variant.modules.emplace_back("format", format_module(from.format));
  variant.modules.emplace_back("rows", rows_module(from.format));
  variant.constants.emplace_back("TO_F32", to.format == WeightFormat::f32);
  const Window source = window_of(recorder, from, 0, from.n_rows);
  const Window target = window_of(recorder, to, row_begin, from.n_rows);
  const uint32_t row_octets = to.row_words() * 4 / (8 * format::info(to.format).block_bytes);
  recorder.dispatch(fmt::format("convert {}", format::info(from.format).name), variant,
                    {gpu::read(source.view), gpu::read_write(target.view)},
                    Immediates{from.n_rows * row_octets, row_octets, from.n_in, from.row_words(), source.first_word,
                               target.first_word},
                    gpu::folded_grid(divide_up(from.n_rows * row_octets, kWorkgroupSize)));
}

}  // namespace ravenwing::kernels
