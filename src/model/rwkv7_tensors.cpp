// src/model/rwkv7_tensors.cpp: the names and shapes of an RWKV-7 model in GGUF (llama.cpp) and in RWKV-LM's own files.
#include "model/rwkv7_tensors.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

namespace ravenwing::rwkv7 {
namespace {

using format::Container;
using format::ModelFile;
using format::Tensor;

constexpr uint32_t kHeadSizeMax = 128;  // a workgroup keeps one head's row of keys per invocation
constexpr uint32_t kHeadSizeUnit = 4;   // kernels read vec4
constexpr uint64_t kDimensionMax = 1u << 30;

/// One tensor under its two names; within a layer both are relative to the layer's prefix.
struct Name {
  std::string_view gguf;
  std::string_view safetensors;
};

struct Shape {
  uint64_t n_out = 0, n_in = 0;
};

std::string to_lower(std::string_view text) {
  std::string lower(text);
  for (char& letter : lower) letter = letter >= 'A' && letter <= 'Z' ? char(letter - 'A' + 'a') : letter;
  return lower;
}

std::string shape_text(const std::vector<uint64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

/// Looks tensors up by layer and name, and checks their shapes.
class TensorFinder {
 public:
  explicit TensorFinder(const ModelFile& file)
      : file_(file), is_gguf_(file.container() == Container::gguf), layer_prefix_(is_gguf_ ? "blk." : "blocks.") {
    for (const Tensor& tensor : file.tensors()) {
      // Converters of .pth files differ in the case of keys.
      const std::string name = is_gguf_ ? tensor.name : to_lower(tensor.name);
      if (!by_name_.emplace(name, &tensor).second)
        refuse("tensor {} occurs twice but for its case", ravenwing::quoted(name));
    }
  }

  bool is_gguf() const { return is_gguf_; }
  const ModelFile& file() const { return file_; }

  template <typename... Args>
  [[noreturn]] void refuse(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) const {
    fail(code, "[rwkv7] {}: {}", ravenwing::quoted(file_.path().string(), 400),
         fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    refuse(ErrorCode::bad_file, format, std::forward<Args>(args)...);
  }

  std::string full_name(Name name) const { return std::string(is_gguf_ ? name.gguf : name.safetensors); }
  std::string full_name(Name name, size_t layer) const {
    return fmt::format("{}{}.{}", layer_prefix_, layer, full_name(name));
  }

  const Tensor* find(const std::string& name) const {
    const auto at = by_name_.find(name);
    return at == by_name_.end() ? nullptr : at->second;
  }

  const Tensor& get(const std::string& name) const {
    const Tensor* tensor = find(name);
    if (tensor == nullptr) refuse("tensor {} is missing", ravenwing::quoted(name));
    return *tensor;
  }

  /// The two dimensions of a matrix; further ones must be 1.
  Shape matrix_shape(const Tensor& tensor) const {
    const size_t n = tensor.shape.size();
    const bool is_matrix = n >= 2 && std::all_of(tensor.shape.begin(), tensor.shape.end() - 2,
                                                 [](uint64_t length) { return length == 1; });
    if (!is_matrix)
      refuse("tensor {}: shape {} is no matrix", ravenwing::quoted(tensor.name), shape_text(tensor.shape));
    const Shape shape{tensor.shape[n - 2], tensor.shape[n - 1]};
    if (shape.n_out == 0 || shape.n_in == 0 || std::max(shape.n_out, shape.n_in) > kDimensionMax) {
      refuse("tensor {}: shape {} has a dimension of 0 or above {}", ravenwing::quoted(tensor.name),
             shape_text(tensor.shape), kDimensionMax);
    }
    return shape;
  }

  MatrixSource matrix(const std::string& name, Shape expected, bool transposed = false) const {
    const Tensor& tensor = get(name);
    const Shape found = matrix_shape(tensor);
    const Shape stored = transposed ? Shape{expected.n_in, expected.n_out} : expected;
    if (found.n_out != stored.n_out || found.n_in != stored.n_in) {
      refuse("tensor {}: shape {}, expected [{}, {}]", ravenwing::quoted(tensor.name), shape_text(tensor.shape),
             stored.n_out, stored.n_in);
    }
    return {&tensor, narrow<uint32_t>(expected.n_out), narrow<uint32_t>(expected.n_in), transposed};
  }

  /// All of a tensor of plain floats.
  Vector floats(const Tensor& tensor, uint64_t n_expected) const {
    if (tensor.n_elements != n_expected) {
      refuse("tensor {}: shape {}, expected {} elements", ravenwing::quoted(tensor.name), shape_text(tensor.shape),
             n_expected);
    }
    if (info(tensor.format).block_weights != 1) {
      refuse(ErrorCode::unsupported, "tensor {}: a vector of type {}; only F32, F16 and BF16 are read",
             ravenwing::quoted(tensor.name), info(tensor.format).name);
    }
    std::vector<std::byte> bytes(size_t(tensor.n_bytes));
    if (!tensor.read(0, bytes.data(), bytes.size())) {
      refuse("tensor {}: the file was cut while it was read", ravenwing::quoted(tensor.name));
    }
    Vector values(size_t(tensor.n_elements));
    dequantize(tensor.format, bytes.data(), values);
    return values;
  }

  Vector vector(const std::string& name, uint64_t n) const { return floats(get(name), n); }

  /// One more than the highest layer that any tensor belongs to.
  uint64_t count_layers() const {
    uint64_t n_layer = 0;
    for (const auto& [name, tensor] : by_name_) {
      if (!name.starts_with(layer_prefix_)) continue;
      uint64_t index = 0;
      const char* end = name.data() + name.size();
      const auto [rest, error] = std::from_chars(name.data() + layer_prefix_.size(), end, index);
      if (error != std::errc() || rest == end || *rest != '.' || index >= by_name_.size()) {
        refuse("tensor {} belongs to no layer of this model", ravenwing::quoted(name));
      }
      n_layer = std::max(n_layer, index + 1);
    }
    return n_layer;
  }

 private:
  const ModelFile& file_;
  bool is_gguf_;
  std::string_view layer_prefix_;
  std::map<std::string, const Tensor*, std::less<>> by_name_;
};

constexpr Name kEmb{"token_embd.weight", "emb.weight"};
constexpr Name kHead{"output.weight", "head.weight"};
constexpr Name kReceptance{"time_mix_receptance.weight", "att.receptance.weight"};
constexpr Name kFfnKey{"channel_mix_key.weight", "ffn.key.weight"};
constexpr Name kRk{"time_mix_r_k.weight", "att.r_k"};

/// A low-rank pair's names: bias, matrix to the rank, matrix from it.
struct LowRankNames {
  Name bias, down, up;
  std::string_view rank_key;  // in GGUF, after "rwkv7.attention."
};

constexpr LowRankNames kW{{"time_mix_w0.weight", "att.w0"},
                          {"time_mix_w1.weight", "att.w1"},
                          {"time_mix_w2.weight", "att.w2"},
                          "decay_lora_rank"};
constexpr LowRankNames kA{{"time_mix_a0.weight", "att.a0"},
                          {"time_mix_a1.weight", "att.a1"},
                          {"time_mix_a2.weight", "att.a2"},
                          "iclr_lora_rank"};
constexpr LowRankNames kV{{"time_mix_v0.weight", "att.v0"},
                          {"time_mix_v1.weight", "att.v1"},
                          {"time_mix_v2.weight", "att.v2"},
                          "value_residual_mix_lora_rank"};
constexpr LowRankNames kG{{}, {"time_mix_g1.weight", "att.g1"}, {"time_mix_g2.weight", "att.g2"}, "gate_lora_rank"};

void check_architecture(const TensorFinder& in) {
  if (!in.is_gguf()) return;
  const std::string* architecture = in.file().meta_string("general.architecture");
  if (architecture == nullptr) in.refuse("key 'general.architecture' is missing");
  if (*architecture != "rwkv7") {
    in.refuse(ErrorCode::unsupported, "architecture {} not supported (rwkv7 is)", ravenwing::quoted(*architecture));
  }
  if (in.file().meta_uint("split.count").value_or(1) > 1) {
    in.refuse(ErrorCode::unsupported, "one part of a model split over several files; merge them first");
  }
}

/// Compares a number of the tensors with the metadata, where the file has any.
void check_meta(const TensorFinder& in, std::string_view key, uint64_t found) {
  const std::string full_key = fmt::format("rwkv7.{}", key);
  if (!in.is_gguf() || !in.file().metadata().contains(full_key)) return;
  const auto said = in.file().meta_uint(full_key);
  if (!said) in.refuse("key {} is no unsigned integer", ravenwing::quoted(full_key));
  if (*said != found) in.refuse("key {} says {}, the tensors have {}", ravenwing::quoted(full_key), *said, found);
}

uint32_t read_head_size(const TensorFinder& in, uint64_t n_embd) {
  uint64_t head_size = 0;
  std::string source = "rwkv7.wkv.head_size";
  if (in.is_gguf()) {
    const auto value = in.file().meta_uint(source);
    if (!value) in.refuse("key {} is missing or no unsigned integer", ravenwing::quoted(source));
    head_size = *value;
  } else {
    source = in.full_name(kRk, 0);
    head_size = in.matrix_shape(in.get(source)).n_in;
  }
  if (head_size == 0 || head_size % kHeadSizeUnit != 0 || head_size > kHeadSizeMax) {
    in.refuse(ErrorCode::unsupported, "{}: head size {}; multiples of {} up to {} are supported",
              ravenwing::quoted(source), head_size, kHeadSizeUnit, kHeadSizeMax);
  }
  if (n_embd % head_size != 0) {
    in.refuse("{}: head size {} does not divide the width {}", ravenwing::quoted(source), head_size, n_embd);
  }
  return uint32_t(head_size);
}

/// RWKV-LM keeps these matrices as [n_in, n_out] (x @ W), GGUF and some converters as [n_out, n_in]. The width tells.
bool is_transposed(const TensorFinder& in, const LowRankNames& names, size_t layer, uint64_t n_embd) {
  return !in.is_gguf() && in.matrix_shape(in.get(in.full_name(names.down, layer))).n_out == n_embd;
}

uint32_t read_rank(const TensorFinder& in, const LowRankNames& names, size_t layer, uint64_t n_embd) {
  const Shape shape = in.matrix_shape(in.get(in.full_name(names.down, layer)));
  const uint64_t rank = is_transposed(in, names, layer, n_embd) ? shape.n_in : shape.n_out;
  check_meta(in, fmt::format("attention.{}", names.rank_key), rank);
  return narrow<uint32_t>(rank);
}

float read_epsilon(const TensorFinder& in) {
  if (!in.is_gguf()) return kLayerNormEpsilon;
  const std::string key = "rwkv7.attention.layer_norm_epsilon";
  if (!in.file().metadata().contains(key)) return kLayerNormEpsilon;
  const auto value = in.file().meta_float(key);
  if (!value || !(*value > 0 && *value < 1))
    in.refuse("key {} must be a number between 0 and 1", ravenwing::quoted(key));
  return float(*value);
}

void check_vocabulary(const TensorFinder& in, uint64_t n_vocab) {
  const auto* tokens = in.file().meta_strings("tokenizer.ggml.tokens");
  if (tokens != nullptr && tokens->size() != n_vocab) {
    in.refuse("key 'tokenizer.ggml.tokens' has {} tokens, tensor {} has {} rows", tokens->size(),
              ravenwing::quoted(in.full_name(kEmb)), n_vocab);
  }
}

Config read_config(const TensorFinder& in) {
  const Shape emb = in.matrix_shape(in.get(in.full_name(kEmb)));
  const uint64_t n_embd = emb.n_in;
  const uint64_t n_layer = in.count_layers();
  check_meta(in, "block_count", n_layer);
  if (n_layer == 0) in.refuse("the model has no layers");
  check_meta(in, "embedding_length", n_embd);
  check_vocabulary(in, emb.n_out);

  Config config;
  config.n_layer = narrow<uint32_t>(n_layer);
  config.n_embd = narrow<uint32_t>(n_embd);
  config.n_vocab = narrow<uint32_t>(emb.n_out);
  config.head_size = read_head_size(in, n_embd);
  config.n_head = config.n_embd / config.head_size;
  config.n_ffn = narrow<uint32_t>(in.matrix_shape(in.get(in.full_name(kFfnKey, 0))).n_out);
  check_meta(in, "feed_forward_length", config.n_ffn);
  config.rank_w = read_rank(in, kW, 0, n_embd);
  config.rank_a = read_rank(in, kA, 0, n_embd);
  config.rank_g = read_rank(in, kG, 0, n_embd);
  // Layer 0 mixes no value residual; what GGUF files hold there is a copy of a0, a1 and a2.
  config.rank_v = n_layer > 1 ? read_rank(in, kV, 1, n_embd) : 0;
  config.layer_norm_epsilon = read_epsilon(in);
  return config;
}

/// Reads one layer; holds what all of its tensors have in common.
class LayerReader {
 public:
  LayerReader(const TensorFinder& in, const Config& config, size_t layer) : in_(in), config_(config), layer_(layer) {}

  LayerSource read() const {
    const uint64_t n_embd = config_.n_embd, n_ffn = config_.n_ffn;
    LayerSource out;
    out.ln1_weight = vector({"attn_norm.weight", "ln1.weight"});
    out.ln1_bias = vector({"attn_norm.bias", "ln1.bias"});
    out.ln2_weight = vector({"attn_norm_2.weight", "ln2.weight"});
    out.ln2_bias = vector({"attn_norm_2.bias", "ln2.bias"});
    read_token_shift(out);
    out.w0 = vector(kW.bias);
    out.a0 = vector(kA.bias);
    out.w = low_rank(kW, config_.rank_w);
    out.a = low_rank(kA, config_.rank_a);
    out.g = low_rank(kG, config_.rank_g);
    if (layer_ > 0) {
      out.v0 = vector(kV.bias);
      out.v = low_rank(kV, config_.rank_v);
    }
    out.k_k = vector({"time_mix_k_k.weight", "att.k_k"});
    out.k_a = vector({"time_mix_k_a.weight", "att.k_a"});
    out.r_k = vector(kRk);
    out.ln_x_weight = vector({"time_mix_ln.weight", "att.ln_x.weight"});
    out.ln_x_bias = vector({"time_mix_ln.bias", "att.ln_x.bias"});
    out.ffn_x_k = vector({"channel_mix_lerp_k.weight", "ffn.x_k"});
    out.receptance = matrix(kReceptance, {n_embd, n_embd});
    out.key = matrix({"time_mix_key.weight", "att.key.weight"}, {n_embd, n_embd});
    out.value = matrix({"time_mix_value.weight", "att.value.weight"}, {n_embd, n_embd});
    out.output = matrix({"time_mix_output.weight", "att.output.weight"}, {n_embd, n_embd});
    out.ffn_key = matrix(kFfnKey, {n_ffn, n_embd});
    out.ffn_value = matrix({"channel_mix_value.weight", "ffn.value.weight"}, {n_embd, n_ffn});
    return out;
  }

 private:
  Vector vector(Name name) const { return in_.vector(in_.full_name(name, layer_), config_.n_embd); }
  MatrixSource matrix(Name name, Shape shape) const { return in_.matrix(in_.full_name(name, layer_), shape); }

  LowRankSource low_rank(const LowRankNames& names, uint64_t rank) const {
    const bool transposed = is_transposed(in_, names, layer_, config_.n_embd);
    return {in_.matrix(in_.full_name(names.down, layer_), {rank, config_.n_embd}, transposed),
            in_.matrix(in_.full_name(names.up, layer_), {config_.n_embd, rank}, transposed)};
  }

  /// GGUF stacks the six vectors in one tensor, in this order; older files and RWKV-LM keep them apart.
  void read_token_shift(LayerSource& out) const {
    const std::array<Vector*, 6> parts = {&out.x_r, &out.x_w, &out.x_k, &out.x_v, &out.x_a, &out.x_g};
    const Tensor* fused = in_.find(in_.full_name({"time_mix_lerp_fused.weight", ""}, layer_));
    if (in_.is_gguf() && fused != nullptr) {
      const Vector all = in_.floats(*fused, parts.size() * uint64_t(config_.n_embd));
      if (fused->shape.back() != config_.n_embd) {
        in_.refuse("tensor {}: shape {}, expected rows of {}", ravenwing::quoted(fused->name), shape_text(fused->shape),
                   config_.n_embd);
      }
      for (size_t i = 0; i < parts.size(); ++i) {
        const auto begin = all.begin() + std::ptrdiff_t(i * config_.n_embd);
        parts[i]->assign(begin, begin + config_.n_embd);
      }
      return;
    }
    constexpr std::string_view kLetters = "rwkvag";
    for (size_t i = 0; i < parts.size(); ++i) {
      const std::string gguf = fmt::format("time_mix_lerp_{}.weight", kLetters[i]);
      const std::string safetensors = fmt::format("att.x_{}", kLetters[i]);
      *parts[i] = vector({gguf, safetensors});
    }
  }

  const TensorFinder& in_;
  const Config& config_;
  size_t layer_;
};

}  // namespace

void MatrixSource::decode_rows(uint32_t row_begin, uint32_t row_end, float* out) const {
  RAVENWING_CHECK(tensor != nullptr && row_begin <= row_end && row_end <= n_out);
  const format::WeightFormatInfo& layout = info(tensor->format);
  const size_t n_rows = row_end - row_begin;
  if (n_rows == 0) return;
  // The stretch of the file that has these rows; of a transposed matrix it holds parts of others too.
  const size_t row_bytes = size_t(n_in) / layout.block_weights * layout.block_bytes;
  const size_t begin = transposed ? size_t(row_begin) * layout.block_bytes : row_begin * row_bytes;
  const size_t n_bytes = transposed ? ((size_t(n_in) - 1) * n_out + n_rows) * layout.block_bytes : n_rows * row_bytes;
  std::vector<std::byte> bytes(n_bytes);
  if (!tensor->read(begin, bytes.data(), n_bytes)) {
    fail(ErrorCode::bad_file, "[rwkv7] tensor {}: the file was cut while it was read", ravenwing::quoted(tensor->name));
  }
  if (!transposed) {
    dequantize(tensor->format, bytes.data(), {out, n_rows * n_in});
    return;
  }
  RAVENWING_CHECK(layout.block_weights == 1);
  std::vector<float> column(n_rows);
  for (size_t j = 0; j < n_in; ++j) {
    dequantize(tensor->format, bytes.data() + j * n_out * layout.block_bytes, column);
    for (size_t i = 0; i < n_rows; ++i) out[i * n_in + j] = column[i];
  }
}

ModelSource read_model_source(const format::ModelFile& file) {
  const TensorFinder in(file);
  check_architecture(in);
  ModelSource source;
  source.config = read_config(in);
  const uint64_t n_embd = source.config.n_embd, n_vocab = source.config.n_vocab;
  source.emb = in.matrix(in.full_name(kEmb), {n_vocab, n_embd});
  source.head = in.matrix(in.full_name(kHead), {n_vocab, n_embd});
  source.ln0_weight = in.vector(in.full_name({"token_embd_norm.weight", "blocks.0.ln0.weight"}), n_embd);
  source.ln0_bias = in.vector(in.full_name({"token_embd_norm.bias", "blocks.0.ln0.bias"}), n_embd);
  source.ln_out_weight = in.vector(in.full_name({"output_norm.weight", "ln_out.weight"}), n_embd);
  source.ln_out_bias = in.vector(in.full_name({"output_norm.bias", "ln_out.bias"}), n_embd);
  source.layers.reserve(source.config.n_layer);
  for (size_t layer = 0; layer < source.config.n_layer; ++layer) {
    source.layers.push_back(LayerReader(in, source.config, layer).read());
  }
  return source;
}

}  // namespace ravenwing::rwkv7
