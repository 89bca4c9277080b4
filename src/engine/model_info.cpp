// src/engine/model_info.cpp: what a model file holds, and its tokeniser.
#include "engine/model_info.hpp"

#include "base/error.hpp"
#include "base/resources.hpp"
#include "base/text.hpp"
#include "model/rwkv7_check.hpp"

namespace ravenwing {
namespace {

struct MetaText {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return std::to_string(value); }
  std::string operator()(uint64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const { return fmt::format("{}", value); }
  std::string operator()(const std::string& value) const { return utf8_lossy(value); }
  std::string operator()(const std::vector<std::string>& value) const {
    return fmt::format("[{} strings]", value.size());
  }
  std::string operator()(const std::vector<int64_t>& value) const { return fmt::format("[{} integers]", value.size()); }
  std::string operator()(const std::vector<double>& value) const { return fmt::format("[{} numbers]", value.size()); }
};

void add_tensors(const format::ModelFile& file, ModelInfo& info) {
  for (const format::Tensor& tensor : file.tensors()) {
    const std::string type(format::info(tensor.format).name);
    info.n_parameters += tensor.n_elements;
    info.bytes_by_type[type] += tensor.n_bytes;
    info.tensors.push_back({tensor.name, type, tensor.shape, tensor.n_bytes});
  }
}

}  // namespace

ModelInfo info_of(const format::ModelFile& file, const rwkv7::ModelSource& source) {
  const rwkv7::Config& config = source.config;
  ModelInfo info;
  info.path = file.path();
  info.container = file.container() == format::Container::gguf ? "gguf" : "safetensors";
  info.architecture = "rwkv7";
  if (const std::string* title = file.meta_string("general.name")) info.name = utf8_lossy(*title);
  info.file_bytes = file.file_bytes();
  info.n_layer = config.n_layer;
  info.n_embd = config.n_embd;
  info.n_head = config.n_head;
  info.head_size = config.head_size;
  info.n_ffn = config.n_ffn;
  info.n_vocab = config.n_vocab;
  info.rank_w = config.rank_w;
  info.rank_a = config.rank_a;
  info.rank_v = config.rank_v;
  info.rank_g = config.rank_g;
  info.state_bytes = config.state_bytes(StateStorage::f32);
  info.state_bytes_f16 = config.state_bytes(StateStorage::f16);
  for (const auto& [key, value] : file.metadata()) info.metadata[utf8_lossy(key)] = std::visit(MetaText{}, value);
  add_tensors(file, info);
  for (const std::string& name : rwkv7::nonfinite_vectors(source))
    info.warnings.push_back(utf8_lossy(name) + " holds NaN or infinity");
  return info;
}

ModelInfo inspect(const std::filesystem::path& path) {
  const format::ModelFile file = format::ModelFile::open(path, MappedFile::Access::read);
  return info_of(file, rwkv7::read_model_source(file));
}

std::vector<std::string> find_nonfinite_weights(const std::filesystem::path& path,
                                                const std::function<void(uint64_t done, uint64_t total)>& on_progress) {
  const format::ModelFile file = format::ModelFile::open(path);
  std::vector<std::string> names;
  for (const std::string& name : rwkv7::nonfinite_weights(rwkv7::read_model_source(file), on_progress))
    names.push_back(utf8_lossy(name));
  return names;
}

Tokenizer tokenizer_of(const format::ModelFile& file, const std::filesystem::path& vocab) {
  if (!vocab.empty()) return Tokenizer::from_file(vocab);
  const std::vector<std::string>* tokens = file.meta_strings("tokenizer.ggml.tokens");
  if (tokens == nullptr) return Tokenizer::world();
  const std::string* kind = file.meta_string("tokenizer.ggml.model");
  if (kind != nullptr && *kind != "rwkv") {
    fail(ErrorCode::unsupported, "[tokenizer] '{}': tokenizer.ggml.model is {}, only rwkv is known",
         ravenwing::quoted(file.path().string(), 400), ravenwing::quoted(*kind));
  }
  std::span<const int64_t> types;
  const auto found = file.metadata().find("tokenizer.ggml.token_type");
  if (found != file.metadata().end()) {
    if (const auto* values = std::get_if<std::vector<int64_t>>(&found->second)) types = *values;
  }
  return Tokenizer::from_gguf_tokens(*tokens, types);
}

Tokenizer model_tokenizer(const std::filesystem::path& model, const std::filesystem::path& vocab) {
  if (!vocab.empty()) return Tokenizer::from_file(vocab);
  return tokenizer_of(format::ModelFile::open(model, MappedFile::Access::read), {});
}

std::filesystem::path demo_model_path() {
  const auto path = find_resource("models/demo/tiny-rwkv7-Q4_K_M.gguf");
  if (!path)
    fail(ErrorCode::bad_file, "the demo model is not where the program looks for it; name a model with -m FILE");
  return *path;
}

}  // namespace ravenwing
