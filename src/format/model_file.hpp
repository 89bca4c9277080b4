// A model file of any container, mapped and checked: the tensors it holds, by name, and its metadata.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/mmap.hpp"
#include "format/weight_format.hpp"

namespace ravenwing::format {

/// One tensor of a file; valid as long as the ModelFile.
struct Tensor {
  std::string name;
  WeightFormat format = WeightFormat::f32;
  std::vector<uint64_t> shape;  // row-major, slowest dimension first: [n_out, n_in]; GGUF's ne order reversed
  const MappedFile* file = nullptr;
  uint64_t offset = 0;  // of its data in the file
  uint64_t n_bytes = 0;
  uint64_t n_elements = 0;

  /// Copies n bytes of the data, from `begin` on. Returns false if the file has become too short.
  bool read(uint64_t begin, void* to, uint64_t n) const { return file->read(offset + begin, to, n); }
};

enum class Container { gguf, safetensors };

/// A metadata value. GGUF integers of every width arrive as int64 or uint64; arrays only of strings and integers.
using MetaValue = std::variant<bool, int64_t, uint64_t, double, std::string, std::vector<std::string>,
                               std::vector<int64_t>, std::vector<double>>;

/// A model file opened read-only: the header is parsed and every size and offset in it is checked against the file's
/// length before anything is allocated for it. Nothing of the tensor data is read.
/// Throws Error{bad_file, unsupported}: "[gguf] 'FILE': tensor 'blk.3.att.key': 17 dimensions, at most 4".
class ModelFile {
 public:
  /// Opens a GGUF (v2, v3) or safetensors file; the container is told by its first bytes, not by its name.
  /// Access::read: the header is not mapped either.
  static ModelFile open(const std::filesystem::path& path, MappedFile::Access access = MappedFile::Access::mapped);
  /// The same for what is in memory already; `bytes` must outlive the file and its tensors. path() says what it is.
  static ModelFile from_bytes(std::span<const std::byte> bytes);

  Container container() const { return container_; }
  const std::filesystem::path& path() const { return path_; }
  uint64_t file_bytes() const { return mapping_->size(); }

  /// In the order of the file.
  const std::vector<Tensor>& tensors() const { return tensors_; }
  const Tensor* find(std::string_view name) const;

  const std::map<std::string, MetaValue, std::less<>>& metadata() const { return metadata_; }
  std::optional<uint64_t> meta_uint(std::string_view key) const;
  std::optional<double> meta_float(std::string_view key) const;
  const std::string* meta_string(std::string_view key) const;
  const std::vector<std::string>* meta_strings(std::string_view key) const;

  /// True while the file on disk is the one that was opened, of the same length; asked around long reads.
  bool unchanged() const;

  /// Reads the whole file into memory, from where its tensors are then read, until forget(). `progress` is told how
  /// many bytes are there and may throw. Throws Error{bad_file}.
  void keep(const std::function<void(uint64_t done)>& progress);
  void forget() { mapping_->forget(); }

 private:
  friend void parse_gguf(ModelFile&);
  friend void parse_safetensors(ModelFile&);
  ModelFile(std::filesystem::path path, MappedFile mapping);

  std::filesystem::path path_;
  std::unique_ptr<MappedFile> mapping_;  // stays where it is when the ModelFile moves: tensors point to it
  Container container_ = Container::gguf;
  std::vector<Tensor> tensors_;
  std::map<std::string, size_t, std::less<>> tensor_index_;
  std::map<std::string, MetaValue, std::less<>> metadata_;
};

}  // namespace ravenwing::format
