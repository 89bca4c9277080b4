// What a model file holds, without loading it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ravenwing/tokenizer.hpp"

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

struct TensorInfo {
  std::string name;
  std::string type;             // "F16", "Q4_K"
  std::vector<uint64_t> shape;  // slowest dimension first
  uint64_t n_bytes = 0;
};

struct ModelInfo {
  std::filesystem::path path;
  std::string container;     // "gguf", "safetensors"
  std::string architecture;  // "rwkv7"
  std::string name;          // the file's own, may be empty
  uint64_t file_bytes = 0;
  uint64_t n_parameters = 0;
  uint32_t n_layer = 0, n_embd = 0, n_head = 0, head_size = 0, n_ffn = 0, n_vocab = 0;
  uint32_t rank_w = 0, rank_a = 0, rank_v = 0, rank_g = 0;
  uint64_t state_bytes = 0;                       // of one sequence, states in f32 (StateStorage)
  uint64_t state_bytes_f16 = 0;                   // the same in f16
  std::map<std::string, uint64_t> bytes_by_type;  // "Q4_K" -> bytes of tensors
  std::map<std::string, std::string> metadata;    // scalars as text, arrays as "[N strings]"
  std::vector<TensorInfo> tensors;                // in the order of the file
  /// What is suspicious, if it does not keep the model from being loaded: small tensors that hold NaN or infinity.
  std::vector<std::string> warnings;
};

/// Reads and checks the header of a GGUF or safetensors file. Throws Error{bad_file, unsupported}.
ModelInfo inspect(const std::filesystem::path& path);

/// Reads every weight of a model and returns what holds NaN or infinity. `on_progress` is told of weights done and in
/// all, and may throw. Throws Error{bad_file, unsupported}.
std::vector<std::string> find_nonfinite_weights(
    const std::filesystem::path& path, const std::function<void(uint64_t done, uint64_t total)>& on_progress = {});

/// The tokeniser that belongs to a model file: of a GGUF the file's own, of safetensors the World vocabulary, unless
/// `vocab` names a vocabulary file. Throws Error{bad_file}.
Tokenizer model_tokenizer(const std::filesystem::path& model, const std::filesystem::path& vocab = {});

/// The demo model that comes with the program. Throws Error{bad_file} where it cannot be found.
std::filesystem::path demo_model_path();

}  // namespace ravenwing
#pragma GCC visibility pop
