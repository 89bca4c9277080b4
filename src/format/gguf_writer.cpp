// src/format/gguf_writer.cpp
#include "format/gguf_writer.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <string_view>

#include "base/bytes.hpp"

namespace ravenwing::format {
namespace {

// Numbers of GGUF's value types.
constexpr uint32_t kUint32 = 4, kFloat32 = 6, kString = 8;
constexpr uint32_t kVersion = 3;

template <typename T>
void append(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void append(std::string& to, std::string_view text) {
  append(to, uint64_t(text.size()));
  to += text;
}

uint32_t ggml_type(WeightFormat format) {
  uint32_t number = 0;
  while (from_ggml_type(number) != format) ++number;
  return number;
}

struct AppendValue {
  std::string& to;
  void operator()(uint32_t value) const {
    append(to, kUint32);
    append(to, value);
  }
  void operator()(float value) const {
    append(to, kFloat32);
    append(to, value);
  }
  void operator()(const std::string& value) const {
    append(to, kString);
    append(to, std::string_view(value));
  }
};

}  // namespace

uint64_t GgufOutline::Tensor::n_elements() const {
  return std::accumulate(shape.begin(), shape.end(), uint64_t(1), std::multiplies());
}

uint64_t GgufOutline::Tensor::n_bytes() const {
  return n_elements() / info(format).block_weights * info(format).block_bytes;
}

std::string GgufOutline::header() const {
  std::string bytes = "GGUF";
  append(bytes, kVersion);
  append(bytes, uint64_t(tensors.size()));
  append(bytes, uint64_t(metadata.size()));
  for (const auto& [key, value] : metadata) {
    append(bytes, std::string_view(key));
    std::visit(AppendValue{bytes}, value);
  }
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    append(bytes, std::string_view(tensor.name));
    append(bytes, uint32_t(tensor.shape.size()));
    for (auto n = tensor.shape.rbegin(); n != tensor.shape.rend(); ++n) append(bytes, *n);
    append(bytes, ggml_type(tensor.format));
    append(bytes, offset);
    offset += round_up(tensor.n_bytes(), kAlignment);
  }
  bytes.resize(round_up(bytes.size(), kAlignment), '\0');
  return bytes;
}

}  // namespace ravenwing::format
