// Writes GGUF files, right or wrong: everything that goes into the file can be changed before it is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/weight_format.hpp"

namespace ravenwing::test {

/// Appends the bytes of a value to `to`.
template <typename T>
void append(std::vector<std::byte>& to, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

uint32_t ggml_type_number(format::WeightFormat format);

class GgufWriter {
 public:
  struct Key {
    std::string name;
    uint32_t type = 0;
    std::vector<std::byte> value;
  };
  struct Tensor {
    std::string name;
    std::vector<uint64_t> ne;  // fastest dimension first, as in the file
    uint32_t type = 0;
    std::vector<std::byte> data;
    std::optional<uint64_t> offset;        // instead of the next aligned one
    std::optional<uint32_t> n_dimensions;  // instead of ne.size()
  };

  uint32_t version = 3;
  uint64_t alignment = 32;
  std::optional<uint64_t> n_tensors, n_keys;  // instead of the real counts
  std::vector<Key> keys;
  std::vector<Tensor> tensors;

  /// Sets a key, replacing one of the same name.
  void set(std::string_view name, uint32_t value);
  void set(std::string_view name, int32_t value);
  void set(std::string_view name, uint64_t value);
  void set(std::string_view name, float value);
  void set(std::string_view name, bool value);
  void set(std::string_view name, std::string_view value);
  void set(std::string_view name, const char* value) { set(name, std::string_view(value)); }
  void set(std::string_view name, const std::vector<std::string>& value);
  void set(std::string_view name, const std::vector<int32_t>& value);
  void set_raw(std::string_view name, uint32_t type, std::vector<std::byte> value);
  void erase_key(std::string_view name);

  Tensor& tensor(std::string_view name);
  void erase_tensor(std::string_view name);

  /// The whole file.
  std::vector<std::byte> bytes() const;
  /// Where the data of the first tensor begins.
  uint64_t data_begin() const;

 private:
  std::vector<std::byte> header() const;
};

}  // namespace ravenwing::test
