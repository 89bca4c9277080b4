// Writes safetensors files, right or wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ravenwing::test {

class SafetensorsWriter {
 public:
  struct Tensor {
    std::string name;
    std::string dtype;
    std::vector<uint64_t> shape;
    std::vector<std::byte> data;
  };

  std::map<std::string, std::string> metadata;
  std::vector<Tensor> tensors;

  Tensor& tensor(std::string_view name);
  void erase_tensor(std::string_view name);

  /// The JSON text, and the data that follows it.
  std::string header() const;
  std::vector<std::byte> data() const;
  /// The whole file.
  std::vector<std::byte> bytes() const { return file(header(), data()); }

  /// A file of any header text and data; `header_bytes` is what the first eight bytes say.
  static std::vector<std::byte> file(std::string_view header, const std::vector<std::byte>& data,
                                     uint64_t header_bytes);
  static std::vector<std::byte> file(std::string_view header, const std::vector<std::byte>& data) {
    return file(header, data, header.size());
  }
};

}  // namespace ravenwing::test
