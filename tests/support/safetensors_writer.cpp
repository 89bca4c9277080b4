// tests/support/safetensors_writer.cpp: the JSON header and the data behind it.
#include "support/safetensors_writer.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "support/gguf_writer.hpp"

namespace ravenwing::test {

SafetensorsWriter::Tensor& SafetensorsWriter::tensor(std::string_view name) {
  const auto at = std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& each) { return each.name == name; });
  if (at == tensors.end()) throw std::logic_error("no tensor " + std::string(name));
  return *at;
}

void SafetensorsWriter::erase_tensor(std::string_view name) {
  std::erase_if(tensors, [&](const Tensor& each) { return each.name == name; });
}

std::string SafetensorsWriter::header() const {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const Tensor& each : tensors) {
    header[each.name] = {
        {"dtype", each.dtype}, {"shape", each.shape}, {"data_offsets", {offset, offset + each.data.size()}}};
    offset += each.data.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // as the reference writer: the data begins at a multiple of 8
  return text;
}

std::vector<std::byte> SafetensorsWriter::data() const {
  std::vector<std::byte> data;
  for (const Tensor& each : tensors) data.insert(data.end(), each.data.begin(), each.data.end());
  return data;
}

std::vector<std::byte> SafetensorsWriter::file(std::string_view header, const std::vector<std::byte>& data,
                                               uint64_t header_bytes) {
  std::vector<std::byte> bytes;
  append(bytes, header_bytes);
  const auto text = std::as_bytes(std::span(header));
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

}  // namespace ravenwing::test
