// tests/support/gguf_writer.cpp: serialising keys, the tensor table and padded data.
#include "support/gguf_writer.hpp"

#include <algorithm>
#include <stdexcept>

#include "base/bytes.hpp"

namespace ravenwing::test {
namespace {

constexpr uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9, kU64 = 10;

void append_string(std::vector<std::byte>& to, std::string_view text) {
  append(to, uint64_t(text.size()));
  const auto bytes = std::as_bytes(std::span(text));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

template <typename T>
std::vector<std::byte> bytes_of(const T& value) {
  std::vector<std::byte> bytes;
  append(bytes, value);
  return bytes;
}

void pad(std::vector<std::byte>& bytes, uint64_t alignment) { bytes.resize(size_t(round_up(bytes.size(), alignment))); }

}  // namespace

uint32_t ggml_type_number(format::WeightFormat format) {
  for (uint32_t number = 0; number < 64; ++number) {
    if (format::from_ggml_type(number) == format) return number;
  }
  throw std::logic_error("a format without a ggml type");
}

void GgufWriter::set_raw(std::string_view name, uint32_t type, std::vector<std::byte> value) {
  const auto at = std::find_if(keys.begin(), keys.end(), [&](const Key& key) { return key.name == name; });
  Key& key = at == keys.end() ? keys.emplace_back() : *at;
  key = {std::string(name), type, std::move(value)};
}

void GgufWriter::set(std::string_view name, uint32_t value) { set_raw(name, kU32, bytes_of(value)); }
void GgufWriter::set(std::string_view name, int32_t value) { set_raw(name, kI32, bytes_of(value)); }
void GgufWriter::set(std::string_view name, uint64_t value) { set_raw(name, kU64, bytes_of(value)); }
void GgufWriter::set(std::string_view name, float value) { set_raw(name, kF32, bytes_of(value)); }
void GgufWriter::set(std::string_view name, bool value) { set_raw(name, kBool, bytes_of(uint8_t(value))); }

void GgufWriter::set(std::string_view name, std::string_view value) {
  std::vector<std::byte> bytes;
  append_string(bytes, value);
  set_raw(name, kString, std::move(bytes));
}

void GgufWriter::set(std::string_view name, const std::vector<std::string>& value) {
  std::vector<std::byte> bytes;
  append(bytes, kString);
  append(bytes, uint64_t(value.size()));
  for (const std::string& text : value) append_string(bytes, text);
  set_raw(name, kArray, std::move(bytes));
}

void GgufWriter::set(std::string_view name, const std::vector<int32_t>& value) {
  std::vector<std::byte> bytes;
  append(bytes, kI32);
  append(bytes, uint64_t(value.size()));
  for (const int32_t number : value) append(bytes, number);
  set_raw(name, kArray, std::move(bytes));
}

void GgufWriter::erase_key(std::string_view name) {
  std::erase_if(keys, [&](const Key& key) { return key.name == name; });
}

GgufWriter::Tensor& GgufWriter::tensor(std::string_view name) {
  const auto at = std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& each) { return each.name == name; });
  if (at == tensors.end()) throw std::logic_error("no tensor " + std::string(name));
  return *at;
}

void GgufWriter::erase_tensor(std::string_view name) {
  std::erase_if(tensors, [&](const Tensor& each) { return each.name == name; });
}

std::vector<std::byte> GgufWriter::header() const {
  std::vector<std::byte> bytes;
  for (const char letter : std::string_view("GGUF")) append(bytes, letter);
  append(bytes, version);
  append(bytes, n_tensors.value_or(tensors.size()));
  append(bytes, n_keys.value_or(keys.size()));
  for (const Key& key : keys) {
    append_string(bytes, key.name);
    append(bytes, key.type);
    bytes.insert(bytes.end(), key.value.begin(), key.value.end());
  }
  uint64_t next_offset = 0;
  for (const Tensor& each : tensors) {
    append_string(bytes, each.name);
    append(bytes, each.n_dimensions.value_or(uint32_t(each.ne.size())));
    for (const uint64_t length : each.ne) append(bytes, length);
    append(bytes, each.type);
    append(bytes, each.offset.value_or(next_offset));
    next_offset = round_up(next_offset + each.data.size(), alignment);
  }
  pad(bytes, alignment);
  return bytes;
}

std::vector<std::byte> GgufWriter::bytes() const {
  std::vector<std::byte> bytes = header();
  const size_t data_begin = bytes.size();
  std::vector<std::byte> data;
  for (const Tensor& each : tensors) {
    data.insert(data.end(), each.data.begin(), each.data.end());
    pad(data, alignment);
  }
  bytes.resize(data_begin + data.size());
  std::copy(data.begin(), data.end(), bytes.begin() + std::ptrdiff_t(data_begin));
  return bytes;
}

uint64_t GgufWriter::data_begin() const { return header().size(); }

}  // namespace ravenwing::test
