// src/format/safetensors_writer.cpp
#include "format/safetensors_writer.hpp"

#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/atomic_file.hpp"
#include "base/bytes.hpp"

namespace ravenwing::format {
namespace {

/// All that comes before the tensors' data.
std::string header_of(std::span<const FloatTensor> tensors, const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = {{"__metadata__", metadata}};
  uint64_t offset = 0;
  for (const FloatTensor& tensor : tensors) {
    const uint64_t n = std::accumulate(tensor.shape.begin(), tensor.shape.end(), uint64_t(1), std::multiplies());
    RAVENWING_CHECK(n == tensor.values.size());
    header[tensor.name] = {
        {"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.values.size_bytes()}}};
    offset += tensor.values.size_bytes();
  }
  std::string text = header.dump();
  text.resize(round_up(text.size(), 8), ' ');
  const uint64_t n_header = text.size();
  text.insert(0, reinterpret_cast<const char*>(&n_header), sizeof(n_header));
  return text;
}

std::vector<std::span<const std::byte>> parts_of(const std::string& header, std::span<const FloatTensor> tensors) {
  std::vector<std::span<const std::byte>> parts = {std::as_bytes(std::span(header))};
  for (const FloatTensor& tensor : tensors) parts.push_back(std::as_bytes(tensor.values));
  return parts;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const FloatTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = header_of(tensors, metadata);
  write_file_atomically(path, parts_of(header, tensors));
}

std::vector<std::byte> safetensors_bytes(std::span<const FloatTensor> tensors,
                                         const std::map<std::string, std::string>& metadata) {
  const std::string header = header_of(tensors, metadata);
  const auto parts = parts_of(header, tensors);
  std::vector<std::byte> bytes;
  size_t n = 0;
  for (const auto& part : parts) n += part.size();
  bytes.reserve(n);
  for (const auto& part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

}  // namespace ravenwing::format
