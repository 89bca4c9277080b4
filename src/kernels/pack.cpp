// src/kernels/pack.cpp
#include "kernels/pack.hpp"

#include "base/bytes.hpp"

namespace ravenwing::kernels {
namespace {

constexpr uint32_t kWorkgroupSize = 256;

/// What holds a matrix's rows, begun where a binding can, and the first row's word in it.
struct Window {
  gpu::BufferView view;
  uint32_t first_word;
};

Window window_of(const gpu::Recorder& recorder, const MatrixView& matrix) {
  const uint64_t alignment = recorder.device().limits().binding_alignment;
  const uint64_t begin = matrix.rows.offset;
  gpu::BufferView view = matrix.rows;
  view.offset = begin / alignment * alignment;
  view.size = begin - view.offset + uint64_t(matrix.n_rows) * matrix.row_words() * 4;
  return {view, uint32_t((begin - view.offset) / 4)};
}

}  // namespace

void pack(gpu::Recorder& recorder, const FileRows& from, const MatrixView& to) {
  RAVENWING_CHECK(from.format == to.format && from.n_rows == to.n_rows && from.n_in == to.n_in);
  struct Immediates {
    uint32_t planes[kPlanesMax];
    uint32_t n_words, row_words, n_blocks, first, row_stride, block_stride, to;
  };
  const auto& info = format::info(from.format);
  const Window target = window_of(recorder, to);
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
  recorder.dispatch(fmt::format("pack {}", info.name), {"pack"}, {gpu::read(from.bytes), gpu::read_write(target.view)},
                    immediates, gpu::folded_grid(divide_up(immediates.n_words, kWorkgroupSize)));
}

void convert(gpu::Recorder& recorder, const MatrixView& from, const MatrixView& to) {
  RAVENWING_CHECK(from.n_rows == to.n_rows && from.n_in == to.n_in);
  RAVENWING_CHECK(to.format == WeightFormat::f16 || to.format == WeightFormat::f32);
  struct Immediates {
    uint32_t n_octets, row_octets, n_in, row_words, from, to;
  };
  gpu::ShaderVariant variant{"convert"};
  variant.modules.emplace_back("format", format_module(from.format));
  variant.constants.emplace_back("TO_F32", to.format == WeightFormat::f32);
  const Window source = window_of(recorder, from), target = window_of(recorder, to);
  const uint32_t row_octets = to.row_words() * 4 / (8 * format::info(to.format).block_bytes);
  recorder.dispatch(fmt::format("convert {}", format::info(from.format).name), variant,
                    {gpu::read(source.view), gpu::read_write(target.view)},
                    Immediates{from.n_rows * row_octets, row_octets, from.n_in, from.row_words(), source.first_word,
                               target.first_word},
                    gpu::folded_grid(divide_up(from.n_rows * row_octets, kWorkgroupSize)));
}

}  // namespace ravenwing::kernels
