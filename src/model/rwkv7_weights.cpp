// src/model/rwkv7_weights.cpp: where each tensor goes, and how it gets there.
#include "model/rwkv7_weights.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/bytes.hpp"
#include "base/half.hpp"
#include "base/text.hpp"
#include "gpu/upload.hpp"

namespace ravenwing::rwkv7 {
namespace {

using format::WeightFormat;
using kernels::MatrixView;

constexpr uint64_t kMatrixAlignment = 16;
constexpr uint64_t kVectorAlignment = 256;  // a binding of its own
/// Rows are read and packed in pieces of about this size, each by one thread.
constexpr uint64_t kPieceBytes = 4 << 20;

bool is_plain_float(WeightFormat format) { return format::info(format).block_weights == 1; }

bool fits_f16(const MatrixSource& matrix) {
  std::vector<float> values(size_t(matrix.n_out) * matrix.n_in);
  matrix.decode_rows(0, matrix.n_out, values.data());
  return std::all_of(values.begin(), values.end(), [](float value) { return !(std::abs(value) > 65504.0f); });
}

/// The low-rank matrices of a layer get one format so that they share dispatches: their own where they agree, else f16
/// (GGUF files keep w1 and w2 in f32 beside f16), else, where f16 would overflow, f32.
WeightFormat low_rank_format(const LayerSource& layer) {
  std::vector<const MatrixSource*> all;
  for (const LowRankSource* pair : {&layer.w, &layer.a, &layer.v, &layer.g}) {
    if (pair->down) all.insert(all.end(), {&pair->down, &pair->up});
  }
  const WeightFormat first = all.front()->tensor->format;
  const bool agree =
      std::all_of(all.begin(), all.end(), [&](const MatrixSource* m) { return m->tensor->format == first; });
  if (agree && is_plain_float(first)) return first;
  const bool fits = std::all_of(all.begin(), all.end(), [](const MatrixSource* m) {
    return m->tensor->format == WeightFormat::f16 || fits_f16(*m);
  });
  return fits ? WeightFormat::f16 : WeightFormat::f32;
}

void encode(WeightFormat format, std::span<const float> values, std::byte* to) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = format == WeightFormat::f16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    if (format == WeightFormat::f32)
      std::memcpy(to + 4 * i, &values[i], 4);
    else
      std::memcpy(to + 2 * i, &half, 2);
  }
}

uint64_t matrix_bytes(const MatrixSource& matrix, WeightFormat format) {
  return matrix ? uint64_t(matrix.n_out) * kernels::row_bytes(format, matrix.n_in) + kMatrixAlignment : 0;
}

/// Bytes that the weights take in GPU memory.
uint64_t weights_bytes(const ModelSource& source, std::span<const WeightFormat> low_rank_formats) {
  const auto own = [](const MatrixSource& matrix) { return matrix_bytes(matrix, matrix.tensor->format); };
  const uint64_t vector_bytes = uint64_t(source.config.n_embd) * 4;
  uint64_t total = own(source.emb) + own(source.head) + 4 * vector_bytes + 2 * kVectorAlignment;
  for (size_t i = 0; i < source.layers.size(); ++i) {
    const LayerSource& layer = source.layers[i];
    total += 19 * vector_bytes + 3 * kVectorAlignment;
    for (const MatrixSource* matrix :
         {&layer.receptance, &layer.key, &layer.value, &layer.output, &layer.ffn_key, &layer.ffn_value})
      total += own(*matrix);
    for (const LowRankSource* pair : {&layer.w, &layer.a, &layer.v, &layer.g})
      total += matrix_bytes(pair->down, low_rank_formats[i]) + matrix_bytes(pair->up, low_rank_formats[i]);
  }
  return total;
}

template <typename Uploader>
LayerWeights place_layer(Uploader& uploader, const LayerSource& layer, WeightFormat low_rank) {
  LayerWeights weights;
  // In the order of use: what one dispatch reads lies together.
  weights.time_shift = uploader.vectors(
      {&layer.ln1_weight, &layer.ln1_bias, &layer.x_r, &layer.x_w, &layer.x_k, &layer.x_v, &layer.x_a, &layer.x_g});
  weights.time_mix = uploader.vectors(
      {&layer.w0, &layer.a0, &layer.v0, &layer.k_k, &layer.k_a, &layer.r_k, &layer.ln_x_weight, &layer.ln_x_bias});
  weights.channel_shift = uploader.vectors({&layer.ln2_weight, &layer.ln2_bias, &layer.ffn_x_k});
  weights.receptance = uploader.matrix(layer.receptance);
  weights.key = uploader.matrix(layer.key);
  weights.value = uploader.matrix(layer.value);
  const std::pair<const LowRankSource*, LowRank*> pairs[] = {
      {&layer.w, &weights.w}, {&layer.a, &weights.a}, {&layer.v, &weights.v}, {&layer.g, &weights.g}};
  for (const auto& [from, to] : pairs) {
    if (from->down) to->down = uploader.matrix(from->down, low_rank);
  }
  for (const auto& [from, to] : pairs) {
    if (from->up) to->up = uploader.matrix(from->up, low_rank);
  }
  weights.output = uploader.matrix(layer.output);
  weights.ffn_key = uploader.matrix(layer.ffn_key);
  weights.ffn_value = uploader.matrix(layer.ffn_value);
  return weights;
}

}  // namespace

/// Hands out space in arenas, remembers what is to fill it, and does so section by section.
class WeightLoader::Uploader {
 public:
  Uploader(gpu::Device& device, const format::ModelFile& file, uint64_t arena_bytes_max, uint64_t total,
           std::vector<gpu::Buffer>& arenas)
      : device_(device), file_(file), total_(total), arenas_(arenas) {
    arena_bytes_max_ = std::min(device.limits().buffer_bytes_max, device.limits().binding_bytes_max * 4);
    arena_bytes_max_ = std::min<uint64_t>(arena_bytes_max_, uint64_t(4) << 30);
    if (arena_bytes_max != 0) arena_bytes_max_ = std::min(arena_bytes_max_, arena_bytes_max);
    arena_bytes_max_ = arena_bytes_max_ / kVectorAlignment * kVectorAlignment;
  }

  void begin_section() { sections_.emplace_back(); }
  size_t n_sections() const { return sections_.size(); }
  bool is_loaded(size_t section) const { return sections_[section].loaded; }

  Matrix matrix(const MatrixSource& source) { return matrix(source, source.tensor->format); }

  Matrix matrix(const MatrixSource& source, WeightFormat format) {
    Matrix result{source.n_out, source.n_in, {}};
    const uint64_t bytes_per_row = kernels::row_bytes(format, source.n_in);
    for (uint32_t row = 0; row < source.n_out;) {
      const uint64_t n_fit =
          std::max<uint64_t>(free_bytes(kMatrixAlignment) / bytes_per_row,
                             arena_bytes_max_ / bytes_per_row * (free_bytes(kMatrixAlignment) < bytes_per_row));
      if (n_fit == 0 || bytes_per_row > gpu::UploadRing::kPieceBytesMax) {
        fail(ErrorCode::unsupported, "[weights] {}: a row of {} bytes is larger than a buffer of {} bytes",
             source.tensor->name, bytes_per_row, std::min(arena_bytes_max_, gpu::UploadRing::kPieceBytesMax));
      }
      const uint32_t n_rows = uint32_t(std::min<uint64_t>(n_fit, source.n_out - row));
      MatrixView part{format, n_rows, source.n_in, take(n_rows * bytes_per_row, kMatrixAlignment)};
      fill(source, row, part);
      result.parts.push_back(std::move(part));
      row += n_rows;
    }
    return result;
  }

  /// Vectors of equal length one after another; an empty one stands as zeros.
  gpu::BufferView vectors(std::initializer_list<const Vector*> rows) {
    const size_t n = (*rows.begin())->size();
    std::vector<float> values;
    for (const Vector* row : rows) {
      RAVENWING_CHECK(row->size() == n || row->empty());
      values.insert(values.end(), row->begin(), row->end());
      values.resize(values.size() + n - row->size());
    }
    const gpu::BufferView view = take(values.size() * 4, kVectorAlignment);
    copy(view.offset, view.size, [values = std::move(values)](std::byte* to) {
      std::memcpy(to, values.data(), values.size() * sizeof(float));
    });
    return view;
  }

  void expect(size_t end, const Progress& progress) {
    progress_ = progress;
    expected_bytes_ = 0;
    for (size_t i = 0; i < end; ++i) expected_bytes_ += sections_[i].loaded ? 0 : sections_[i].bytes;
    bytes_before_ = ring_ ? ring_->bytes_done() : 0;
  }

  void load(size_t section) {
    if (!ring_) ring_ = std::make_unique<gpu::UploadRing>(device_, total_, [this] { report(); });
    for (Piece& piece : sections_[section].pieces) {
      ring_->copy(arenas_[piece.arena], piece.offset, piece.bytes, std::move(piece.fill));
      report();
    }
    sections_[section].pieces.clear();
    sections_[section].loaded = true;
  }

  void hand_over() {
    ring_->hand_over();
    if (!file_.unchanged()) fail_changed();
    report();
  }

  void finish() {
    if (ring_) ring_->finish();
    ring_.reset();
    if (!file_.unchanged()) fail_changed();
    if (progress_) progress_(expected_bytes_, expected_bytes_);
  }

 private:
  /// A stretch of an arena and what writes it, on another thread.
  struct Piece {
    size_t arena;
    uint64_t offset, bytes;
    std::function<void(std::byte*)> fill;
  };
  struct Section {
    std::vector<Piece> pieces;
    uint64_t bytes = 0;
    bool loaded = false;
  };

  void report() const {
    if (progress_) progress_(std::min(ring_->bytes_done() - bytes_before_, expected_bytes_), expected_bytes_);
  }

  uint64_t free_bytes(uint64_t alignment) const {
    if (arenas_.empty()) return 0;
    const uint64_t begin = round_up(used_, alignment);
    return begin < arenas_.back().size() ? arenas_.back().size() - begin : 0;
  }

  gpu::BufferView take(uint64_t bytes, uint64_t alignment) {
    if (free_bytes(alignment) < bytes) {
      RAVENWING_CHECK(bytes <= arena_bytes_max_);
      // Room for what is left and for the padding between tensors, no more than an arena's limit.
      const uint64_t wanted = round_up(std::max(bytes, total_ - std::min(total_, placed_)), kVectorAlignment);
      arenas_.push_back(device_.create_storage(std::min(wanted, arena_bytes_max_), gpu::Account::weights,
                                               fmt::format("weights {}", arenas_.size())));
      used_ = 0;
    }
    const uint64_t begin = round_up(used_, alignment);
    placed_ += begin - used_ + bytes;
    used_ = begin + bytes;
    return {arenas_.back(), begin, bytes};
  }

  void fill(const MatrixSource& source, uint32_t row_begin, const MatrixView& part) {
    const uint64_t bytes_per_row = kernels::row_bytes(part.format, part.n_in);
    const uint32_t rows_per_piece = uint32_t(std::max<uint64_t>(kPieceBytes / bytes_per_row, 1));
    const bool as_stored = part.format == source.tensor->format && !source.transposed;
    for (uint32_t row = 0; row < part.n_rows; row += rows_per_piece) {
      const uint32_t n_rows = std::min(rows_per_piece, part.n_rows - row);
      const uint32_t first = row_begin + row;
      copy(part.rows.offset + row * bytes_per_row, n_rows * bytes_per_row,
           [this, &source, first, n_rows, format = part.format, as_stored](std::byte* to) {
             if (as_stored)
               read_rows(source, first, n_rows, to);
             else
               convert_rows(source, first, n_rows, format, to);
           });
    }
  }

  void read_rows(const MatrixSource& source, uint32_t row_begin, uint32_t n_rows, std::byte* to) const {
    const WeightFormat format = source.tensor->format;
    const auto& info = format::info(format);
    const uint64_t file_row_bytes = uint64_t(source.n_in) / info.block_weights * info.block_bytes;
    const uint64_t packed_row_bytes = kernels::row_bytes(format, source.n_in);
    const uint64_t offset = row_begin * file_row_bytes;
    const bool as_it_stands = file_row_bytes == packed_row_bytes && kernels::keeps_blocks(format);
    std::vector<std::byte> raw(as_it_stands ? 0 : n_rows * file_row_bytes);
    if (!source.tensor->read(offset, as_it_stands ? to : raw.data(), n_rows * file_row_bytes)) fail_changed();
    if (as_it_stands) return;
    for (uint32_t row = 0; row < n_rows; ++row)
      kernels::pack_row(format, source.n_in, raw.data() + row * file_row_bytes, to + row * packed_row_bytes);
  }

  void convert_rows(const MatrixSource& source, uint32_t row_begin, uint32_t n_rows, WeightFormat format,
                    std::byte* to) const {
    const uint64_t packed_row_bytes = kernels::row_bytes(format, source.n_in);
    std::vector<float> values(size_t(n_rows) * source.n_in);
    source.decode_rows(row_begin, row_begin + n_rows, values.data());
    std::memset(to, 0, n_rows * packed_row_bytes);
    for (uint32_t row = 0; row < n_rows; ++row) {
      encode(format, std::span(values).subspan(size_t(row) * source.n_in, source.n_in), to + row * packed_row_bytes);
    }
  }

  /// To the last arena, where all space is taken.
  void copy(uint64_t offset, uint64_t bytes, std::function<void(std::byte*)> fill) {
    sections_.back().pieces.push_back({arenas_.size() - 1, offset, bytes, std::move(fill)});
    sections_.back().bytes += bytes;
  }

  [[noreturn]] void fail_changed() const {
    fail(ErrorCode::bad_file, "[model] {} was changed while it was being read", quoted(file_.path().string(), 400));
  }

  gpu::Device& device_;
  const format::ModelFile& file_;
  uint64_t total_, arena_bytes_max_ = 0;
  std::vector<gpu::Buffer>& arenas_;
  uint64_t used_ = 0;  // of the last arena
  uint64_t placed_ = 0;
  std::vector<Section> sections_;
  Progress progress_;
  uint64_t expected_bytes_ = 0, bytes_before_ = 0;
  std::unique_ptr<gpu::UploadRing> ring_;  // last: its threads end before what they read
};

WeightLoader::WeightLoader(gpu::Device& device, const format::ModelFile& file, const ModelSource& source,
                           uint64_t arena_bytes_max, Weights& weights) {
  std::vector<WeightFormat> low_rank_formats;
  for (const LayerSource& layer : source.layers) low_rank_formats.push_back(low_rank_format(layer));
  uploader_ = std::make_unique<Uploader>(device, file, arena_bytes_max, weights_bytes(source, low_rank_formats),
                                         weights.arenas);
  uploader_->begin_section();
  weights.ln0 = uploader_->vectors({&source.ln0_weight, &source.ln0_bias});
  weights.emb = uploader_->matrix(source.emb);
  for (size_t i = 0; i < source.layers.size(); ++i) {
    uploader_->begin_section();
    weights.layers.push_back(place_layer(*uploader_, source.layers[i], low_rank_formats[i]));
  }
  uploader_->begin_section();
  weights.ln_out = uploader_->vectors({&source.ln_out_weight, &source.ln_out_bias});
  weights.head = uploader_->matrix(source.head);
}

WeightLoader::~WeightLoader() = default;

size_t WeightLoader::n_sections() const { return uploader_->n_sections(); }
bool WeightLoader::is_loaded(size_t section) const { return uploader_->is_loaded(section); }
void WeightLoader::expect(size_t end, const Progress& progress) { uploader_->expect(end, progress); }
void WeightLoader::load(size_t section) { uploader_->load(section); }
void WeightLoader::hand_over() { uploader_->hand_over(); }
void WeightLoader::finish() { uploader_->finish(); }

}  // namespace ravenwing::rwkv7
