// src/model/rwkv7_synthetic.cpp: random RWKV-7 models as GGUF, laid out as llama.cpp's converter and quantiser do.
#include "model/rwkv7_synthetic.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include "base/bytes.hpp"
#include "base/half.hpp"
#include "base/text.hpp"
#include "format/gguf_writer.hpp"
#include "format/random_block.hpp"
#include "ravenwing/synthetic.hpp"

namespace ravenwing {
namespace {

using format::GgufOutline;
using format::WeightFormat;
using rwkv7::LayerFormats;
using rwkv7::SyntheticSpec;

constexpr uint32_t kHeadSize = 64, kVocabulary = 65536;

struct Shape {
  std::string_view name;
  uint32_t n_layer, n_embd, n_ffn, rank_w, rank_a, rank_v, rank_g;
};
constexpr Shape kShapes[] = {
    {"0.1b", 12, 768, 3072, 64, 64, 32, 128},     {"0.4b", 24, 1024, 4096, 64, 64, 32, 128},
    {"1.5b", 24, 2048, 8192, 96, 96, 64, 256},    {"2.9b", 32, 2560, 10240, 96, 96, 64, 320},
    {"7.2b", 32, 4096, 16384, 128, 128, 96, 480}, {"13.3b", 61, 4096, 16384, 192, 192, 128, 384}};

/// Types of the large matrices and of the head.
struct Mixture {
  std::string_view name;
  WeightFormat matrices, head;
};
constexpr Mixture kMixtures[] = {
    {"f32", WeightFormat::f32, WeightFormat::f32},       {"f16", WeightFormat::f16, WeightFormat::f16},
    {"bf16", WeightFormat::bf16, WeightFormat::bf16},    {"q8_0", WeightFormat::q8_0, WeightFormat::q8_0},
    {"q6_k", WeightFormat::q6_k, WeightFormat::q6_k},    {"q5_k_m", WeightFormat::q5_k, WeightFormat::q6_k},
    {"q4_k_m", WeightFormat::q4_k, WeightFormat::q6_k},  {"q3_k_m", WeightFormat::q3_k, WeightFormat::q6_k},
    {"q2_k", WeightFormat::q2_k, WeightFormat::q6_k},    {"q5_1", WeightFormat::q5_1, WeightFormat::q6_k},
    {"q5_0", WeightFormat::q5_0, WeightFormat::q6_k},    {"q4_1", WeightFormat::q4_1, WeightFormat::q6_k},
    {"q4_0", WeightFormat::q4_0, WeightFormat::q6_k},    {"iq4_nl", WeightFormat::iq4_nl, WeightFormat::q6_k},
    {"iq4_xs", WeightFormat::iq4_xs, WeightFormat::q6_k}};

template <typename Entry, size_t n>
const Entry& find_named(const Entry (&entries)[n], std::string_view name, std::string_view what) {
  std::string names;
  for (const Entry& entry : entries) {
    if (entry.name == name) return entry;
    names += (names.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail(ErrorCode::bad_request, "no synthetic {} {}: there are {}", what, quoted(name), names);
}

/// A tensor and the range of its values: vectors are uniform in [low, high], matrices have mean 0 and `deviation`.
struct Plan {
  GgufOutline outline;
  struct Values {
    float low = 0, high = 0, deviation = 0;
  };
  std::vector<Values> values;  // one per tensor of the outline

  void vector(const std::string& name, uint32_t n, float low, float high) {
    outline.tensors.push_back({name, WeightFormat::f32, {n}});
    values.push_back({low, high, 0});
  }
  void matrix(const std::string& name, uint32_t n_out, uint32_t n_in, WeightFormat format, float gain = 1) {
    outline.tensors.push_back({name, format, {n_out, n_in}});
    values.push_back({0, 0, gain / std::sqrt(float(n_in))});
  }
};

void plan_layer(Plan& plan, const SyntheticSpec& spec, uint32_t layer) {
  const LayerFormats& formats = spec.layers[layer % spec.layers.size()];
  const uint32_t n = spec.n_embd;
  const std::string prefix = fmt::format("blk.{}.", layer);
  for (const char* norm : {"attn_norm", "attn_norm_2"}) {
    plan.vector(prefix + norm + ".weight", n, 0.8f, 1.2f);
    plan.vector(prefix + norm + ".bias", n, -0.05f, 0.05f);
  }
  plan.vector(prefix + "time_mix_lerp_fused.weight", n, 0, 1);
  plan.outline.tensors.back().shape = {6, 1, 1, n};
  const std::tuple<const char*, uint32_t, WeightFormat> pairs[] = {
      {"w", spec.rank_w, formats.w},
      {"a", spec.rank_a, formats.a},
      // The converter copies a's into block 0, which has no v.
      {"v", layer == 0 ? spec.rank_a : spec.rank_v, formats.v}};
  for (const auto& [letter, rank, format] : pairs) {
    const bool decay = letter == std::string_view("w");
    plan.vector(fmt::format("{}time_mix_{}0.weight", prefix, letter), n, decay ? -6.5f : -1, decay ? -1.0f : 1);
    plan.matrix(fmt::format("{}time_mix_{}1.weight", prefix, letter), rank, n, format, 0.5f);
    plan.matrix(fmt::format("{}time_mix_{}2.weight", prefix, letter), n, rank, format, 0.5f);
  }
  plan.matrix(prefix + "time_mix_g1.weight", spec.rank_g, n, formats.g, 0.5f);
  plan.matrix(prefix + "time_mix_g2.weight", n, spec.rank_g, formats.g, 2);
  plan.vector(prefix + "time_mix_k_k.weight", n, 0.6f, 1);
  plan.vector(prefix + "time_mix_k_a.weight", n, 0.9f, 1.1f);
  plan.vector(prefix + "time_mix_r_k.weight", n, -0.1f, 0.1f);
  plan.matrix(prefix + "time_mix_receptance.weight", n, n, formats.receptance);
  plan.matrix(prefix + "time_mix_key.weight", n, n, formats.key);
  plan.matrix(prefix + "time_mix_value.weight", n, n, formats.value);
  plan.matrix(prefix + "time_mix_output.weight", n, n, formats.output);
  plan.vector(prefix + "time_mix_ln.weight", n, 0.8f, 1.2f);
  plan.vector(prefix + "time_mix_ln.bias", n, -0.05f, 0.05f);
  plan.vector(prefix + "channel_mix_lerp_k.weight", n, 0, 1);
  plan.matrix(prefix + "channel_mix_key.weight", spec.n_ffn, n, formats.ffn_key);
  plan.matrix(prefix + "channel_mix_value.weight", n, spec.n_ffn, formats.ffn_value);
}

Plan plan_model(const SyntheticSpec& spec) {
  Plan plan;
  plan.outline.metadata = {{"general.architecture", "rwkv7"},
                           {"general.name", spec.name},
                           {"rwkv7.context_length", uint32_t(1048576)},
                           {"rwkv7.embedding_length", spec.n_embd},
                           {"rwkv7.block_count", spec.n_layer},
                           {"rwkv7.feed_forward_length", spec.n_ffn},
                           {"rwkv7.attention.head_count", uint32_t(0)},
                           {"rwkv7.attention.layer_norm_epsilon", 1e-5f},
                           {"rwkv7.wkv.head_size", kHeadSize},
                           {"rwkv7.attention.decay_lora_rank", spec.rank_w},
                           {"rwkv7.attention.iclr_lora_rank", spec.rank_a},
                           {"rwkv7.attention.value_residual_mix_lora_rank", spec.rank_v},
                           {"rwkv7.attention.gate_lora_rank", spec.rank_g}};
  plan.matrix("token_embd.weight", spec.n_vocab, spec.n_embd, spec.emb);
  plan.vector("token_embd_norm.weight", spec.n_embd, 0.8f, 1.2f);
  plan.vector("token_embd_norm.bias", spec.n_embd, -0.05f, 0.05f);
  for (uint32_t layer = 0; layer < spec.n_layer; ++layer) plan_layer(plan, spec, layer);
  plan.vector("output_norm.weight", spec.n_embd, 0.8f, 1.2f);
  plan.vector("output_norm.bias", spec.n_embd, -0.05f, 0.05f);
  plan.matrix("output.weight", spec.n_vocab, spec.n_embd, spec.head);
  return plan;
}

void store_bits(std::byte* to, uint16_t bits) { std::memcpy(to, &bits, sizeof(bits)); }

/// Weights with a mean of 0 and the deviation: uniform ones, or a block of random bytes but for its scales.
void fill_block(WeightFormat format, std::byte* block, float deviation, std::mt19937& random) {
  const uint32_t n_bytes = format::info(format).block_bytes;
  for (uint32_t i = 0; i < n_bytes; ++i) block[i] = std::byte(random() >> 24);
  const float uniform = (float(random()) / 4294967296.0f * 2 - 1) * std::sqrt(3.0f) * deviation;
  switch (format) {
    case WeightFormat::f32:
      std::memcpy(block, &uniform, sizeof(uniform));
      return;
    case WeightFormat::f16:
      return store_bits(block, f32_to_f16(uniform));
    case WeightFormat::bf16:
      return store_bits(block, f32_to_bf16(uniform));
    default:
      return format::scale_random_block(format, block, deviation);
  }
}

/// Writes tensors one after another to a descriptor.
class Writer {
 public:
  Writer(int descriptor, bool small, std::string place)
      : descriptor_(descriptor), small_(small), place_(std::move(place)) {}

  void write(const void* bytes, size_t n) {
    const char* at = static_cast<const char*>(bytes);
    while (n > 0) {
      const ssize_t written = ::write(descriptor_, at, n);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        const ErrorCode code = errno == ENOMEM ? ErrorCode::out_of_memory : ErrorCode::bad_file;
        fail(code, "cannot write {}: {}", place_, std::strerror(errno));
      }
      at += written;
      n -= size_t(written);
    }
  }

  void vector(uint64_t n, float low, float high) {
    std::vector<float> values(n);
    std::uniform_real_distribution<float> uniform(low, high);
    for (float& value : values) value = uniform(random_);
    write(values.data(), n * sizeof(float));
    pad(n * sizeof(float));
  }

  /// Repeats a stretch of random blocks. Its length is a prime number, so that no two rows of a matrix are alike.
  void matrix(const GgufOutline::Tensor& tensor, float deviation) {
    const uint64_t n_bytes = tensor.n_bytes();
    const std::vector<std::byte>& tile = tile_of(tensor.format, deviation);
    for (uint64_t done = 0; done < n_bytes; done += tile.size())
      write(tile.data(), std::min<uint64_t>(tile.size(), n_bytes - done));
    pad(n_bytes);
  }

 private:
  const std::vector<std::byte>& tile_of(WeightFormat format, float deviation) {
    std::vector<std::byte>& tile = tiles_[{format, deviation}];
    if (!tile.empty()) return tile;
    const auto& info = format::info(format);
    const size_t size = info.block_weights == 1 ? 0 : info.block_weights == 32 ? 1 : 2;
    const size_t n_blocks = small_ ? kSmallTiles[size] : kTiles[size];
    tile.resize(n_blocks * info.block_bytes);
    for (size_t i = 0; i < n_blocks; ++i) fill_block(format, tile.data() + i * info.block_bytes, deviation, random_);
    return tile;
  }
  void pad(uint64_t n_bytes) {
    static constexpr char kZeros[GgufOutline::kAlignment] = {};
    write(kZeros, round_up(n_bytes, GgufOutline::kAlignment) - n_bytes);
  }

  // Blocks of 1, 32 and 256 weights.
  static constexpr size_t kTiles[] = {1048573, 65521, 16381}, kSmallTiles[] = {65521, 4093, 509};

  int descriptor_;
  bool small_;         // a model of few weights need not wait for many
  std::string place_;  // for messages
  std::mt19937 random_{1};
  std::map<std::pair<WeightFormat, float>, std::vector<std::byte>> tiles_;
};

void write_model(const SyntheticSpec& spec, int descriptor, const std::string& place) {
  const Plan plan = plan_model(spec);
  Writer writer(descriptor, spec.n_vocab < kVocabulary, place);
  const std::string header = plan.outline.header();
  writer.write(header.data(), header.size());
  for (size_t i = 0; i < plan.values.size(); ++i) {
    const GgufOutline::Tensor& tensor = plan.outline.tensors[i];
    const Plan::Values& values = plan.values[i];
    if (values.deviation == 0)
      writer.vector(tensor.n_elements(), values.low, values.high);
    else
      writer.matrix(tensor, values.deviation);
  }
}

}  // namespace

SyntheticSpec rwkv7::synthetic_spec(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == text.npos) fail(ErrorCode::bad_request, "{} is no SHAPE:QUANT, such as 2.9b:q4_k_m", quoted(text));
  const Shape& shape = find_named(kShapes, text.substr(0, colon), "shape");
  const Mixture& mixture = find_named(kMixtures, text.substr(colon + 1), "quantisation");
  LayerFormats layer{.w = WeightFormat::f32, .a = WeightFormat::f16, .v = WeightFormat::f16, .g = WeightFormat::f16};
  for (WeightFormat LayerFormats::*const matrix : rwkv7::kLargeMatrices) layer.*matrix = mixture.matrices;
  return {.name = fmt::format("synthetic {}:{}", shape.name, mixture.name),
          .n_layer = shape.n_layer,
          .n_embd = shape.n_embd,
          .n_ffn = shape.n_ffn,
          .n_vocab = kVocabulary,
          .rank_w = shape.rank_w,
          .rank_a = shape.rank_a,
          .rank_v = shape.rank_v,
          .rank_g = shape.rank_g,
          .emb = mixture.matrices,
          .head = mixture.head,
          .layers = {layer}};
}

std::vector<std::string> synthetic_shapes() {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

int rwkv7::make_synthetic_file(const SyntheticSpec& spec) {
  const int descriptor = memfd_create("ravenwing synthetic model", MFD_CLOEXEC);
  if (descriptor < 0) fail(ErrorCode::out_of_memory, "no file in memory can be made: {}", std::strerror(errno));
  try {
    write_model(spec, descriptor, "the synthetic model to memory");
  } catch (...) {
    close(descriptor);
    throw;
  }
  return descriptor;
}

SyntheticModel::SyntheticModel(std::string_view spec)
    : descriptor_(rwkv7::make_synthetic_file(rwkv7::synthetic_spec(spec))) {}

SyntheticModel::~SyntheticModel() { close(descriptor_); }

std::filesystem::path SyntheticModel::path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

void write_synthetic_model(std::string_view spec, const std::filesystem::path& path) {
  const SyntheticSpec parsed = rwkv7::synthetic_spec(spec);
  // The name appears with the last byte: a half-written model would load.
  const std::string part = path.native() + ".part";
  const int descriptor = open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) fail(ErrorCode::bad_file, "cannot write {}: {}", quoted(part, 400), std::strerror(errno));
  try {
    write_model(parsed, descriptor, quoted(path.native(), 400));
  } catch (...) {
    close(descriptor);
    unlink(part.c_str());
    throw;
  }
  const bool ok = close(descriptor) == 0 && rename(part.c_str(), path.c_str()) == 0;
  if (ok) return;
  const int error = errno;
  unlink(part.c_str());
  fail(ErrorCode::bad_file, "cannot write {}: {}", quoted(path.native(), 400), std::strerror(error));
}

}  // namespace ravenwing
