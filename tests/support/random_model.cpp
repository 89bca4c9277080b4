// tests/support/random_model.cpp: random tensors by role, then laid out for a container.
#include "support/random_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string_view>

#include "base/half.hpp"
#include "format/random_block.hpp"
#include "support/files.hpp"

namespace ravenwing::test {
namespace {

using format::WeightFormat;

/// Numbers that depend on the seed and the tensor's name alone, the same on every platform (splitmix64).
class Random {
 public:
  Random(uint32_t seed, std::string_view name) : state_(seed) {
    for (const char letter : name) state_ = (state_ ^ uint8_t(letter)) * 0x100000001b3u;  // FNV-1a
  }

  uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
  }

  /// Nearly normal, of deviation 1: the sum of four uniform numbers, which needs no function of libm.
  float normal() {
    uint64_t rest = bits();
    float sum = 0;
    for (int i = 0; i < 4; ++i, rest >>= 16) sum += float(rest & 0xffffu) / 65536.0f;
    return (sum - 2.0f) * 1.7320508f;
  }

 private:
  uint64_t state_;
};

void append_plain(std::vector<std::byte>& to, WeightFormat format, float value) {
  if (format == WeightFormat::f32) append(to, value);
  if (format == WeightFormat::f16) append(to, f32_to_f16(value));
  if (format == WeightFormat::bf16) append(to, f32_to_bf16(value));
}

/// Every bit of the codes is random, and each block has a deviation of its own.
void append_block(std::vector<std::byte>& to, WeightFormat format, Random& random, float deviation) {
  const size_t begin = to.size();
  for (uint32_t i = 0; i < info(format).block_bytes; ++i) append(to, uint8_t(random.bits()));
  const float factor = 0.75f + float(random.bits() % 256) / 512;
  format::scale_random_block(format, &to[begin], deviation * factor);
}

/// `n` random weights in a format.
std::vector<std::byte> encode(WeightFormat format, Random& random, uint64_t n, float mean, float deviation) {
  const format::WeightFormatInfo& layout = info(format);
  std::vector<std::byte> bytes;
  bytes.reserve(size_t(n / layout.block_weights * layout.block_bytes));
  for (uint64_t i = 0; i < n; i += layout.block_weights) {
    if (layout.block_weights == 1)
      append_plain(bytes, format, mean + deviation * random.normal());
    else
      append_block(bytes, format, random, deviation);
  }
  return bytes;
}

enum class Role { plain, token_shift, low_rank, bonus };

struct RandomTensor {
  std::string gguf_name, safetensors_name;
  Role role = Role::plain;
  WeightFormat format = WeightFormat::f32;
  std::vector<uint64_t> shape;  // row-major
  std::vector<std::byte> data;
};

class ModelBuilder {
 public:
  explicit ModelBuilder(const RandomModelOptions& options) : options_(options) {}

  std::vector<RandomTensor> build() {
    const uint64_t n_embd = options_.n_embd, n_vocab = options_.n_vocab;
    matrix("token_embd.weight", "emb.weight", options_.emb, n_vocab, n_embd);
    norm("token_embd_norm", "blocks.0.ln0");
    for (uint32_t layer = 0; layer < options_.n_layer; ++layer) {
      gguf_prefix_ = fmt::format("blk.{}.", layer);
      safetensors_prefix_ = fmt::format("blocks.{}.", layer);
      time_mix(layer);
      channel_mix();
    }
    gguf_prefix_.clear();
    safetensors_prefix_.clear();
    norm("output_norm", "ln_out");
    matrix("output.weight", "head.weight", options_.head, n_vocab, n_embd);
    return std::move(tensors_);
  }

 private:
  void time_mix(uint32_t layer) {
    const uint64_t n_embd = options_.n_embd;
    norm("attn_norm", "ln1");
    for (const char letter : std::string_view("rwkvag")) {
      vector(fmt::format("time_mix_lerp_{}.weight", letter), fmt::format("att.x_{}", letter), 0.5f, 0.2f);
      tensors_.back().role = Role::token_shift;
    }
    low_rank('w', options_.rank_w, -3.0f, 2.0f);
    low_rank('a', options_.rank_a, 0.0f, 0.5f);
    if (layer > 0) low_rank('v', options_.rank_v, 0.5f, 0.5f);
    low_rank('g', options_.rank_g, 0.0f, 0.0f);
    vector("time_mix_k_k.weight", "att.k_k", 0.85f, 0.1f);
    vector("time_mix_k_a.weight", "att.k_a", 1.0f, 0.1f);
    vector("time_mix_r_k.weight", "att.r_k", 0.0f, 0.1f);
    tensors_.back().role = Role::bonus;
    for (const std::string name : {"receptance", "key", "value", "output"}) {
      matrix("time_mix_" + name + ".weight", "att." + name + ".weight", options_.matrices, n_embd, n_embd);
    }
    norm("time_mix_ln", "att.ln_x");
  }

  void channel_mix() {
    norm("attn_norm_2", "ln2");
    vector("channel_mix_lerp_k.weight", "ffn.x_k", 0.5f, 0.2f);
    matrix("channel_mix_key.weight", "ffn.key.weight", options_.matrices, options_.n_ffn, options_.n_embd);
    matrix("channel_mix_value.weight", "ffn.value.weight", options_.matrices, options_.n_embd, options_.n_ffn);
  }

  void norm(const std::string& gguf, const std::string& safetensors) {
    vector(gguf + ".weight", safetensors + ".weight", 1.0f, 0.1f);
    vector(gguf + ".bias", safetensors + ".bias", 0.0f, 0.05f);
  }

  /// Bias (the gate has none), matrix to the rank and matrix from it.
  void low_rank(char letter, uint64_t rank, float mean, float deviation) {
    const auto name = [&](int part) { return fmt::format("time_mix_{}{}.weight", letter, part); };
    if (letter != 'g') vector(name(0), fmt::format("att.{}0", letter), mean, deviation);
    matrix(name(1), fmt::format("att.{}1", letter), options_.low_rank, rank, options_.n_embd);
    tensors_.back().role = Role::low_rank;
    matrix(name(2), fmt::format("att.{}2", letter), options_.low_rank, options_.n_embd, rank);
    tensors_.back().role = Role::low_rank;
  }

  void vector(const std::string& gguf, const std::string& safetensors, float mean, float deviation) {
    RandomTensor& tensor = add(gguf, safetensors, WeightFormat::f32, {options_.n_embd});
    Random random(options_.seed, tensor.gguf_name);
    tensor.data = encode(tensor.format, random, options_.n_embd, mean, deviation);
  }

  void matrix(const std::string& gguf, const std::string& safetensors, WeightFormat format, uint64_t n_out,
              uint64_t n_in) {
    if (n_in % info(format).block_weights != 0) throw std::logic_error(gguf + ": a row is no whole number of blocks");
    RandomTensor& tensor = add(gguf, safetensors, format, {n_out, n_in});
    Random random(options_.seed, tensor.gguf_name);
    tensor.data = encode(format, random, n_out * n_in, 0, 1 / std::sqrt(float(n_in)));
  }

  RandomTensor& add(const std::string& gguf, const std::string& safetensors, WeightFormat format,
                    std::vector<uint64_t> shape) {
    tensors_.push_back(
        {gguf_prefix_ + gguf, safetensors_prefix_ + safetensors, Role::plain, format, std::move(shape), {}});
    return tensors_.back();
  }

  RandomModelOptions options_;
  std::string gguf_prefix_, safetensors_prefix_;
  std::vector<RandomTensor> tensors_;
};

/// A token as llama.cpp's converter writes it: the inside of a Python bytes literal.
std::string byte_token(int byte) {
  if (byte == '\t') return "\\t";
  if (byte == '\n') return "\\n";
  if (byte == '\r') return "\\r";
  if (byte == '\\') return "\\\\";
  if (byte >= 0x20 && byte < 0x7f) return std::string(1, char(byte));
  return fmt::format("\\x{:02x}", byte);
}

void set_vocabulary(GgufWriter& writer, uint32_t n_vocab) {
  constexpr int32_t kNormal = 1, kControl = 3, kUnused = 5;
  std::vector<std::string> tokens = {"<s>"};
  std::vector<int32_t> types = {kControl};
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(byte_token(byte));
  types.resize(tokens.size(), kNormal);
  if (n_vocab < tokens.size()) throw std::logic_error("a vocabulary needs 257 tokens");
  while (tokens.size() < n_vocab) tokens.push_back(fmt::format("[PAD {}]", tokens.size()));
  types.resize(tokens.size(), kUnused);
  writer.set("tokenizer.ggml.model", "rwkv");
  writer.set("tokenizer.ggml.tokens", tokens);
  writer.set("tokenizer.ggml.token_type", types);
  writer.set("tokenizer.ggml.bos_token_id", uint32_t(0));
  writer.set("tokenizer.ggml.eos_token_id", uint32_t(0));
}

void set_keys(GgufWriter& writer, const RandomModelOptions& options) {
  writer.set("general.architecture", "rwkv7");
  writer.set("general.name", "random");
  writer.set("rwkv7.context_length", uint32_t(1048576));
  writer.set("rwkv7.embedding_length", options.n_embd);
  writer.set("rwkv7.block_count", options.n_layer);
  writer.set("rwkv7.feed_forward_length", options.n_ffn);
  writer.set("rwkv7.attention.head_count", uint32_t(0));
  writer.set("rwkv7.attention.layer_norm_epsilon", 1e-5f);
  writer.set("rwkv7.wkv.head_size", options.head_size);
  writer.set("rwkv7.attention.decay_lora_rank", options.rank_w);
  writer.set("rwkv7.attention.iclr_lora_rank", options.rank_a);
  writer.set("rwkv7.attention.value_residual_mix_lora_rank", options.rank_v);
  writer.set("rwkv7.attention.gate_lora_rank", options.rank_g);
  set_vocabulary(writer, options.n_vocab);
}

/// As the converter does: the first layer, which has no value residual, gets copies of a0, a1 and a2 in its place.
void add_dummy_value_residual(GgufWriter& writer) {
  for (const char part : std::string_view("012")) {
    GgufWriter::Tensor copy = writer.tensor(fmt::format("blk.0.time_mix_a{}.weight", part));
    copy.name = fmt::format("blk.0.time_mix_v{}.weight", part);
    writer.tensors.push_back(std::move(copy));
  }
}

std::vector<std::byte> transposed(const RandomTensor& tensor) {
  const size_t element = info(tensor.format).block_bytes;
  const size_t n_out = tensor.shape[0], n_in = tensor.shape[1];
  std::vector<std::byte> result(tensor.data.size());
  for (size_t i = 0; i < n_out; ++i) {
    for (size_t j = 0; j < n_in; ++j) {
      std::copy_n(tensor.data.begin() + std::ptrdiff_t((i * n_in + j) * element), element,
                  result.begin() + std::ptrdiff_t((j * n_out + i) * element));
    }
  }
  return result;
}

}  // namespace

RandomModelOptions smallest_model() {
  RandomModelOptions options;
  options.n_embd = options.n_ffn = 4;
  options.head_size = 4;
  options.n_vocab = 257;
  options.rank_w = options.rank_a = options.rank_v = options.rank_g = 1;
  return options;
}

GgufWriter random_gguf(const RandomModelOptions& options) {
  GgufWriter writer;
  set_keys(writer, options);
  for (RandomTensor& tensor : ModelBuilder(options).build()) {
    if (tensor.role == Role::token_shift) {
      // Six neighbours become one tensor, in the order in which they come.
      const std::string name = tensor.gguf_name.substr(0, tensor.gguf_name.rfind("lerp_")) + "lerp_fused.weight";
      if (writer.tensors.back().name == name) {
        std::vector<std::byte>& fused = writer.tensors.back().data;
        fused.insert(fused.end(), tensor.data.begin(), tensor.data.end());
        continue;
      }
      tensor.gguf_name = name;
      tensor.shape = {6, 1, 1, options.n_embd};
    }
    GgufWriter::Tensor& out = writer.tensors.emplace_back();
    out.name = tensor.gguf_name;
    out.ne.assign(tensor.shape.rbegin(), tensor.shape.rend());
    out.type = ggml_type_number(tensor.format);
    out.data = std::move(tensor.data);
  }
  add_dummy_value_residual(writer);
  return writer;
}

SafetensorsWriter random_safetensors(const RandomModelOptions& options) {
  SafetensorsWriter writer;
  for (RandomTensor& tensor : ModelBuilder(options).build()) {
    if (info(tensor.format).block_weights != 1) throw std::logic_error("safetensors holds plain floats only");
    if (tensor.role == Role::low_rank) {
      tensor.data = transposed(tensor);
      std::swap(tensor.shape[0], tensor.shape[1]);
    }
    if (tensor.role == Role::bonus) tensor.shape = {options.n_embd / options.head_size, options.head_size};
    if (tensor.role == Role::token_shift) tensor.shape = {1, 1, options.n_embd};
    writer.tensors.push_back(
        {tensor.safetensors_name, std::string(info(tensor.format).name), tensor.shape, tensor.data});
  }
  return writer;
}

GgufWriter with_f16_products(GgufWriter model) {
  for (GgufWriter::Tensor& tensor : model.tensors) {
    if (tensor.ne.size() != 2 || tensor.name == "token_embd.weight") continue;
    std::vector<float> weights(size_t(tensor.ne[0] * tensor.ne[1]));
    format::dequantize(format::from_ggml_type(tensor.type).value(), tensor.data.data(), weights);
    tensor.data.clear();
    for (const float weight : weights) append(tensor.data, f32_to_f16(weight));
    tensor.type = ggml_type_number(WeightFormat::f16);
  }
  return model;
}

void write_random_gguf(const std::filesystem::path& path, const RandomModelOptions& options) {
  write_file(path, random_gguf(options).bytes());
}

void write_random_safetensors(const std::filesystem::path& path, const RandomModelOptions& options) {
  write_file(path, random_safetensors(options).bytes());
}

}  // namespace ravenwing::test
