// src/model/rwkv7_weights.cpp: where each tensor goes, and how it gets there.
#include "model/rwkv7_weights.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/bytes.hpp"
#include "base/text.hpp"
#include "gpu/upload.hpp"
#include "kernels/pack.hpp"

namespace ravenwing::rwkv7 {
namespace {

using format::WeightFormat;
using kernels::MatrixView;

constexpr uint64_t kMatrixAlignment = 16;
constexpr uint64_t kVectorAlignment = 256;  // a binding of its own
/// Rows are read in pieces of about this size, each by one thread.
constexpr uint64_t kPieceBytes = 4 << 20;

bool is_plain_float(WeightFormat format) { return format::info(format).block_weights == 1; }

/// Whether f16 holds what these bits of f32 or bf16 say. NaN it does, infinity is taken for a number that was too
/// large.
template <typename Bits>
bool all_fit_f16(std::span<const std::byte> bytes) {
  constexpr uint32_t kLargest = 0x477fe000, kInfinity = 0x7f800000;  // 65504
  uint32_t n_lost = 0;                                               // a sum, which takes the loop no branch
  for (size_t i = 0; i + sizeof(Bits) <= bytes.size(); i += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, &bytes[i], sizeof(bits));
    const uint32_t magnitude = (uint32_t(bits) << (32 - 8 * sizeof(Bits))) & 0x7fffffffu;
    n_lost += uint32_t(magnitude > kLargest) & uint32_t(magnitude <= kInfinity);
  }
  return n_lost == 0;
}

/// Whether f16 holds a matrix. Reads all of it.
bool fits_f16(const MatrixSource& matrix) {
  const WeightFormat format = matrix.tensor->format;
  if (format == WeightFormat::f16) return true;
  if (!is_plain_float(format)) {
    std::vector<float> values(size_t(matrix.n_out) * matrix.n_in);
    matrix.decode_rows(0, matrix.n_out, values.data());
    return all_fit_f16<uint32_t>(std::as_bytes(std::span(values)));
  }
  std::vector<std::byte> buffer(256 << 10);
  const uint64_t n_bytes = uint64_t(matrix.n_out) * matrix.n_in * format::info(format).block_bytes;
  for (uint64_t at = 0; at < n_bytes; at += buffer.size()) {
    const std::span<std::byte> piece(buffer.data(), std::min<uint64_t>(buffer.size(), n_bytes - at));
    if (!matrix.tensor->read(at, piece.data(), piece.size())) return true;  // loading will say what is wrong
    if (!(format == WeightFormat::f32 ? all_fit_f16<uint32_t>(piece) : all_fit_f16<uint16_t>(piece))) return false;
  }
  return true;
}

/// The low-rank matrices of a layer get one format so that they share dispatches: their own where they agree, else f16
/// (GGUF files keep w1 and w2 in f32 beside f16), else, where f16 would overflow, f32. bf16 gives way to f16, which has
/// all its bits down to 6e-5 and which the kernel for one token takes.
WeightFormat low_rank_format(const LayerSource& layer) {
  std::vector<const MatrixSource*> all;
  for (const LowRankSource* pair : {&layer.w, &layer.a, &layer.v, &layer.g}) {
    if (pair->down) all.insert(all.end(), {&pair->down, &pair->up});
  }
  const WeightFormat first = all.front()->tensor->format;
  const bool agree =
      std::all_of(all.begin(), all.end(), [&](const MatrixSource* m) { return m->tensor->format == first; });
  if (agree && is_plain_float(first) && first != WeightFormat::bf16) return first;
  const bool fits = std::all_of(all.begin(), all.end(), [](const MatrixSource* m) { return fits_f16(*m); });
  return fits ? WeightFormat::f16 : WeightFormat::f32;
}

uint64_t matrix_bytes(const MatrixSource& matrix, WeightFormat format) {
  return matrix ? kernels::matrix_bytes(format, matrix.n_out, matrix.n_in) + kMatrixAlignment : 0;
}

/// Bytes that the sections take in GPU memory: embedding, layers, head.
std::vector<uint64_t> section_bytes(const ModelSource& source, std::span<const WeightFormat> low_rank_formats) {
  const auto own = [](const MatrixSource& matrix) { return matrix_bytes(matrix, matrix.tensor->format); };
  const uint64_t vector_bytes = uint64_t(source.config.n_embd) * 4;
  std::vector<uint64_t> sections = {own(source.emb) + 2 * vector_bytes + kVectorAlignment};
  for (size_t i = 0; i < source.layers.size(); ++i) {
    const LayerSource& layer = source.layers[i];
    uint64_t& total = sections.emplace_back(19 * vector_bytes + 3 * kVectorAlignment);
    for (const MatrixSource* matrix :
         {&layer.receptance, &layer.key, &layer.value, &layer.output, &layer.ffn_key, &layer.ffn_value})
      total += own(*matrix);
    for (const LowRankSource* pair : {&layer.w, &layer.a, &layer.v, &layer.g})
      total += matrix_bytes(pair->down, low_rank_formats[i]) + matrix_bytes(pair->up, low_rank_formats[i]);
  }
  sections.push_back(own(source.head) + 2 * vector_bytes + kVectorAlignment);
  return sections;
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
  using Fill = gpu::UploadRing::Fill;

 public:
  Uploader(gpu::PipelineCache& pipelines, const format::ModelFile& file, uint64_t arena_bytes_max,
           std::vector<uint64_t> section_bytes, std::vector<gpu::Buffer>& arenas)
      : pipelines_(pipelines),
        device_(pipelines.device()),
        file_(file),
        section_bytes_(std::move(section_bytes)),
        total_(std::accumulate(section_bytes_.begin(), section_bytes_.end(), uint64_t(0))),
        arenas_(arenas) {
    const gpu::Device& device = device_;
    arena_bytes_max_ = std::min(device.limits().buffer_bytes_max, device.limits().binding_bytes_max * 4);
    arena_bytes_max_ = std::min<uint64_t>(arena_bytes_max_, uint64_t(4) << 30);
    if (arena_bytes_max != 0) arena_bytes_max_ = std::min(arena_bytes_max_, arena_bytes_max);
    arena_bytes_max_ = arena_bytes_max_ / kVectorAlignment * kVectorAlignment;
  }

  /// What fits an arena is not cut in two: the kernel of one token binds whole layers.
  void begin_section() {
    const size_t section = sections_.size();
    sections_.emplace_back();
    if (free_bytes(kVectorAlignment) >= section_bytes_[section] || section_bytes_[section] > arena_bytes_max_) return;
    uint64_t bytes = 0;
    for (size_t i = section; i < section_bytes_.size() && bytes + section_bytes_[i] <= arena_bytes_max_; ++i)
      bytes += section_bytes_[i];
    open_arena(bytes);
  }
  size_t n_sections() const { return sections_.size(); }
  bool is_loaded(size_t section) const { return sections_[section].loaded; }

  Matrix matrix(const MatrixSource& source) { return matrix(source, source.tensor->format); }

  Matrix matrix(const MatrixSource& source, WeightFormat format) {
    Matrix result{source.n_out, source.n_in, {}};
    const uint64_t bytes_per_row = kernels::row_bytes(format, source.n_in);
    for (uint32_t row = 0; row < source.n_out;) {
      uint64_t n_fit = kernels::rows_in(format, source.n_in, free_bytes(kMatrixAlignment));
      if (n_fit == 0) n_fit = kernels::rows_in(format, source.n_in, arena_bytes_max_);
      if (n_fit == 0 || bytes_per_row > gpu::UploadRing::kPieceBytesMax) {
        fail(ErrorCode::unsupported, "[weights] {}: a row of {} bytes is larger than a buffer of {} bytes",
             source.tensor->name, bytes_per_row, std::min(arena_bytes_max_, gpu::UploadRing::kPieceBytesMax));
      }
      const uint32_t n_rows = uint32_t(std::min<uint64_t>(n_fit, source.n_out - row));
      MatrixView part{format, n_rows, source.n_in,
                      take(kernels::matrix_bytes(format, n_rows, source.n_in), kMatrixAlignment)};
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
    if (!packed_ && packed_bytes_ > 0)
      packed_ = device_.create_storage(packed_bytes_, gpu::Account::staging, "rows to convert");
    for (Piece& piece : sections_[section].pieces) {
      if (piece.use)
        ring_->process(piece.bytes, std::move(piece.fill), std::move(piece.use));
      else
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
    packed_ = {};
    if (!file_.unchanged()) fail_changed();
    if (progress_) progress_(expected_bytes_, expected_bytes_);
  }

 private:
  /// Bytes, and where they go: to a stretch of an arena, or to `use` if that is given.
  struct Piece {
    uint64_t bytes;
    Fill fill;
    size_t arena;
    uint64_t offset;
    gpu::UploadRing::Use use;
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

  void open_arena(uint64_t bytes) {
    arenas_.push_back(device_.create_storage(std::min(round_up(bytes, kVectorAlignment), arena_bytes_max_),
                                             gpu::Account::weights, fmt::format("weights {}", arenas_.size())));
    used_ = 0;
  }

  gpu::BufferView take(uint64_t bytes, uint64_t alignment) {
    if (free_bytes(alignment) < bytes) {
      RAVENWING_CHECK(bytes <= arena_bytes_max_);
      // Room for what is left and for the padding between tensors, no more than an arena's limit.
      open_arena(std::max(bytes, total_ - std::min(total_, placed_)));
    }
    const uint64_t begin = round_up(used_, alignment);
    placed_ += begin - used_ + bytes;
    used_ = begin + bytes;
    return {arenas_.back(), begin, bytes};
  }

  /// Rows that lie as in the file are copied; of others the GPU is given the file's bytes, of which those of a piece
  /// belong to rows from `row` on.
  void fill(const MatrixSource& source, uint32_t row_begin, const MatrixView& part) {
    const WeightFormat format = source.tensor->format;
    const auto& info = format::info(format);
    const uint64_t file_row_bytes = uint64_t(source.n_in) / info.block_weights * info.block_bytes;
    const bool as_it_stands = part.format == format && !source.transposed && kernels::keeps_rows(format, source.n_in) &&
                              kernels::rows_together(format) == 1;
    // A transposed matrix is not cut: its rows lie all over it.
    const uint64_t rows_per_piece =
        source.transposed ? part.n_rows : std::max<uint64_t>(kernels::rows_in(format, source.n_in, kPieceBytes), 1);
    for (uint32_t row = 0; row < part.n_rows;) {
      const uint32_t n_rows = uint32_t(std::min<uint64_t>(rows_per_piece, part.n_rows - row));
      kernels::FileRows from{format, n_rows, part.n_in, {}, 0, file_row_bytes, info.block_bytes};
      uint64_t begin = (row_begin + row) * file_row_bytes, n_bytes = n_rows * file_row_bytes;
      if (source.transposed) {
        begin = 0;
        n_bytes = uint64_t(source.n_out) * source.n_in * info.block_bytes;
        from.first = uint64_t(row_begin + row) * info.block_bytes;
        from.row_stride = info.block_bytes;
        from.block_stride = uint64_t(source.n_out) * info.block_bytes;
      }
      const auto read = [this, &source, begin, n_bytes](std::byte* bytes) {
        if (!source.tensor->read(begin, bytes, n_bytes)) fail_changed();
      };
      if (as_it_stands)
        copy(part.rows.offset + row * file_row_bytes, n_bytes, read);
      else
        pack(source, {from, part, row}, n_bytes, read);
      row += n_rows;
    }
  }

  /// Rows that become those of `to` from `row` on.
  struct Packing {
    kernels::FileRows from;
    MatrixView to;
    uint32_t row;
  };

  /// Bytes for the GPU to pack and, for another format, to convert.
  void pack(const MatrixSource& source, const Packing& packing, uint64_t n_bytes, Fill read) {
    if (n_bytes > gpu::UploadRing::kPieceBytesMax) {
      fail(ErrorCode::unsupported, "[weights] {}: {} bytes are more than the {} that can be rearranged at once",
           source.tensor->name, n_bytes, gpu::UploadRing::kPieceBytesMax);
    }
    const auto record = [this, packing](gpu::Recorder& recorder, const gpu::BufferView& bytes) {
      const auto& [from, to, row] = packing;
      kernels::FileRows rows = from;
      rows.bytes = bytes;
      if (to.format == from.format) return kernels::pack(recorder, rows, to, row);
      const gpu::BufferView place = packed_ ? gpu::BufferView(packed_) : gpu::BufferView();
      const MatrixView packed{from.format, from.n_rows, from.n_in, place};
      kernels::pack(recorder, rows, packed, 0);
      kernels::convert(recorder, packed, to, row);
    };
    const auto& [from, to, row] = packing;
    if (to.format != from.format)
      packed_bytes_ = std::max(packed_bytes_, kernels::matrix_bytes(from.format, from.n_rows, from.n_in));
    // Only to have the shaders compiled.
    gpu::Recorder ahead(pipelines_);
    record(ahead, {});
    add(n_bytes, std::move(read), [this, record](const wgpu::ComputePassEncoder& pass, const gpu::BufferView& bytes) {
      gpu::Plan plan;
      gpu::Recorder recorder(pipelines_, plan);
      record(recorder, bytes);
      plan.encode(pass);
    });
  }

  /// To the last arena, where all space is taken.
  void copy(uint64_t offset, uint64_t bytes, Fill fill) {
    sections_.back().pieces.push_back({bytes, std::move(fill), arenas_.size() - 1, offset, {}});
    sections_.back().bytes += bytes;
  }

  void add(uint64_t bytes, Fill fill, gpu::UploadRing::Use use) {
    sections_.back().pieces.push_back({bytes, std::move(fill), 0, 0, std::move(use)});
    sections_.back().bytes += bytes;
  }

  [[noreturn]] void fail_changed() const {
    fail(ErrorCode::bad_file, "[model] {} was changed while it was being read", quoted(file_.path().string(), 400));
  }

  gpu::PipelineCache& pipelines_;
  gpu::Device& device_;
  const format::ModelFile& file_;
  const std::vector<uint64_t> section_bytes_;
  uint64_t total_, arena_bytes_max_ = 0;
  std::vector<gpu::Buffer>& arenas_;
  uint64_t used_ = 0;  // of the last arena
  uint64_t placed_ = 0;
  std::vector<Section> sections_;
  Progress progress_;
  uint64_t expected_bytes_ = 0, bytes_before_ = 0;
  uint64_t packed_bytes_ = 0;  // of the largest piece that is converted
  gpu::Buffer packed_;
  std::unique_ptr<gpu::UploadRing> ring_;  // last: its threads end before what they read
};

std::vector<WeightFormat> low_rank_formats(const ModelSource& source) {
  std::vector<WeightFormat> formats;
  for (const LayerSource& layer : source.layers) formats.push_back(low_rank_format(layer));
  return formats;
}

WeightLoader::WeightLoader(gpu::PipelineCache& pipelines, const format::ModelFile& file, const ModelSource& source,
                           const WeightPlacement& placement, Weights& weights) {
  const std::vector<WeightFormat> formats =
      placement.low_rank_formats.empty() ? low_rank_formats(source) : placement.low_rank_formats;
  uploader_ = std::make_unique<Uploader>(pipelines, file, placement.arena_bytes_max, section_bytes(source, formats),
                                         weights.arenas);
  uploader_->begin_section();
  weights.ln0 = uploader_->vectors({&source.ln0_weight, &source.ln0_bias});
  weights.emb = uploader_->matrix(source.emb);
  for (size_t i = 0; i < source.layers.size(); ++i) {
    uploader_->begin_section();
    weights.layers.push_back(place_layer(*uploader_, source.layers[i], formats[i]));
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
