// src/format/model_file.cpp: which container a file is, and lookups in what its parser found.
#include "format/model_file.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "format/gguf.hpp"
#include "format/safetensors.hpp"

namespace ravenwing::format {
namespace {

constexpr std::string_view kGgufMagic = "GGUF";
constexpr size_t kGgufHeaderBytes = 24;
constexpr size_t kSafetensorsLengthBytes = 8;
constexpr uint64_t kFirstBytes = 64;  // more than any signature has

struct Signature {
  std::string_view first_bytes;
  std::string_view meaning;
};

// Files that people try to load, by their first bytes; the old ggml magics are little-endian numbers, so reversed text.
constexpr Signature kSignatures[] = {
    {"lmgg", "an old ggml file (before GGUF)"},
    {"fmgg", "an old ggmf file (before GGUF)"},
    {"tjgg", "an old ggjt file (before GGUF)"},
    {"algg", "an old ggla adapter (before GGUF)"},
    {"GGML", "an old ggml file (before GGUF)"},
    {"ggjt", "an old ggjt file (before GGUF)"},
    {"FUGG", "a GGUF file with its bytes swapped"},
    {"PK", "a zip archive, as PyTorch .pth files are"},
    {"\x80\x02", "a Python pickle, as old PyTorch .pth files are"},
    {"\x1f\x8b", "a gzip archive"},
    {"\x28\xb5\x2f\xfd", "a zstd archive"},
    {"version https://git-lfs", "a Git LFS pointer: the model itself was not downloaded"},
    {"<", "an HTML or XML page: perhaps a failed download"},
    {"{", "JSON text"},
};

/// A header length that fits the file, or the brace that opens every safetensors header.
bool looks_like_safetensors(std::string_view text, uint64_t file_bytes) {
  if (text.size() < kSafetensorsLengthBytes) return false;
  if (text.size() > kSafetensorsLengthBytes && text[kSafetensorsLengthBytes] == '{') return true;
  const uint64_t length = load_le<uint64_t>(text.data());
  return length > 0 && length <= file_bytes - kSafetensorsLengthBytes;
}

[[noreturn]] void fail_unknown(const std::string& name, std::string_view text) {
  for (const Signature& signature : kSignatures) {
    if (!text.starts_with(signature.first_bytes)) continue;
    fail(ErrorCode::bad_file, "{}: not GGUF or safetensors; looks like {}", name, signature.meaning);
  }
  if (text.size() < kGgufHeaderBytes) {
    fail(ErrorCode::bad_file, "{}: {} bytes, file too short for a GGUF header ({})", name, text.size(),
         kGgufHeaderBytes);
  }
  fail(ErrorCode::bad_file, "{}: not GGUF or safetensors; begins with {}", name, ravenwing::quoted(text.substr(0, 8)));
}

template <typename T>
const T* value_as(const std::map<std::string, MetaValue, std::less<>>& metadata, std::string_view key) {
  const auto at = metadata.find(key);
  return at == metadata.end() ? nullptr : std::get_if<T>(&at->second);
}

}  // namespace

ModelFile ModelFile::open(const std::filesystem::path& path, MappedFile::Access access) {
  return ModelFile(path, MappedFile(path, access));
}

ModelFile ModelFile::from_bytes(std::span<const std::byte> bytes) {
  return ModelFile("(bytes in memory)", MappedFile(bytes));
}

ModelFile::ModelFile(std::filesystem::path path, MappedFile mapping)
    : path_(std::move(path)), mapping_(std::make_unique<MappedFile>(std::move(mapping))) {
  std::string text(size_t(std::min(file_bytes(), kFirstBytes)), '\0');
  if (!mapping_->read(0, text.data(), text.size())) text.clear();
  const std::string name = ravenwing::quoted(path_.string(), 400);
  if (text.starts_with(kGgufMagic)) {
    if (text.size() < kGgufHeaderBytes) {
      fail(ErrorCode::bad_file, "[gguf] {}: {} bytes, file too short for a GGUF header ({})", name, text.size(),
           kGgufHeaderBytes);
    }
    container_ = Container::gguf;
    parse_gguf(*this);
  } else if (looks_like_safetensors(text, file_bytes())) {
    container_ = Container::safetensors;
    parse_safetensors(*this);
  } else {
    fail_unknown(name, text);
  }
}

const Tensor* ModelFile::find(std::string_view name) const {
  const auto at = tensor_index_.find(name);
  return at == tensor_index_.end() ? nullptr : &tensors_[at->second];
}

std::optional<uint64_t> ModelFile::meta_uint(std::string_view key) const {
  if (const auto* value = value_as<uint64_t>(metadata_, key)) return *value;
  if (const auto* value = value_as<int64_t>(metadata_, key); value != nullptr && *value >= 0) return uint64_t(*value);
  return std::nullopt;
}

std::optional<double> ModelFile::meta_float(std::string_view key) const {
  if (const auto* value = value_as<double>(metadata_, key)) return *value;
  return std::nullopt;
}

const std::string* ModelFile::meta_string(std::string_view key) const { return value_as<std::string>(metadata_, key); }

const std::vector<std::string>* ModelFile::meta_strings(std::string_view key) const {
  return value_as<std::vector<std::string>>(metadata_, key);
}

bool ModelFile::unchanged() const { return mapping_->unchanged(); }

void ModelFile::keep(const std::function<void(uint64_t done)>& progress) {
  bool whole = false;
  try {
    whole = mapping_->keep(progress);
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::out_of_memory,
         "[model] {}: its {} bytes do not fit into memory; without `--load full` they need not",
         ravenwing::quoted(path_.string(), 400), file_bytes());
  }
  if (!whole)
    fail(ErrorCode::bad_file, "[model] {} became shorter while it was read", ravenwing::quoted(path_.string(), 400));
}

}  // namespace ravenwing::format
