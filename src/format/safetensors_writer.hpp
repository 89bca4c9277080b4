// Writing safetensors files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace ravenwing::format {

/// A tensor of type F32 to be written; `values` has as many as `shape` says.
struct FloatTensor {
  std::string name;
  std::vector<uint64_t> shape;  // slowest dimension first
  std::span<const float> values;
};

/// Writes the tensors and the metadata to `path`, whole or not at all. Metadata must be valid UTF-8. Throws
/// Error{bad_file} with the system's message.
void write_safetensors(const std::filesystem::path& path, std::span<const FloatTensor> tensors,
                       const std::map<std::string, std::string>& metadata);
/// The same bytes in memory.
std::vector<std::byte> safetensors_bytes(std::span<const FloatTensor> tensors,
                                         const std::map<std::string, std::string>& metadata);

}  // namespace ravenwing::format
