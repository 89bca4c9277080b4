// tests/support/npy.cpp: the header is a Python dictionary of three keys; only the forms NumPy itself writes are read.
#include "support/npy.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>

#include "base/bytes.hpp"
#include "support/files.hpp"

namespace ravenwing::test {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

}  // namespace

Array read_npy(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = read_file(path);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto require = [&](bool condition) {
    if (!condition) throw std::runtime_error(path.string() + ": no float32 .npy file");
  };
  require(text.size() > 12 && text.starts_with(kMagic));
  const bool is_first_version = text[6] == 1;
  const size_t header_begin = is_first_version ? 10 : 12;
  const size_t header_bytes = is_first_version ? load_le<uint16_t>(&text[8]) : load_le<uint32_t>(&text[8]);
  require(header_bytes <= text.size() - header_begin);
  const std::string header(text.substr(header_begin, header_bytes));
  require(header.find("'<f4'") != header.npos && header.find("'fortran_order': False") != header.npos);

  Array array;
  const size_t open = header.find('('), close = header.find(')');
  require(open != header.npos && close != header.npos);
  for (const char* at = header.c_str() + open + 1; *at != ')';) {
    char* end = nullptr;
    array.shape.push_back(std::strtoull(at, &end, 10));
    require(end != at);
    at = end + std::strspn(end, ", ");
  }
  const uint64_t n = std::accumulate(array.shape.begin(), array.shape.end(), uint64_t(1), std::multiplies<>());
  const size_t data_begin = header_begin + header_bytes;
  require(n * sizeof(float) == text.size() - data_begin);
  array.values.resize(size_t(n));
  std::memcpy(array.values.data(), text.data() + data_begin, text.size() - data_begin);
  return array;
}

void write_npy(const std::filesystem::path& path, const Array& array) {
  const std::string comma = array.shape.size() == 1 ? "," : "";
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}{}), }}", fmt::join(array.shape, ", "), comma);
  // The data begins at a multiple of 64, after a line break.
  header.append((64 - (10 + header.size() + 1) % 64) % 64, ' ');
  header += '\n';
  std::string text = fmt::format("{}\x01{}", kMagic, '\0');
  const auto length = narrow<uint16_t>(header.size());
  text.append(reinterpret_cast<const char*>(&length), sizeof(length));
  text += header;
  text.append(reinterpret_cast<const char*>(array.values.data()), array.values.size() * sizeof(float));
  write_file(path, std::string_view(text));
}

}  // namespace ravenwing::test
