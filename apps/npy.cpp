#include "npy.hpp"

#include <fmt/ranges.h>

#include <bit>

namespace ravenwing::apps {

static_assert(std::endian::native == std::endian::little, "the header below says '<f4'");

NpyWriter::NpyWriter(std::filesystem::path path, const std::vector<uint64_t>& shape) : file_(std::move(path)) {
  // Version 1.0: magic, two bytes of version, length of the header, which ends with a newline at a multiple of 64.
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}{}), }}",
                                   fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  constexpr size_t kPreambleBytes = 10;
  header.append(63 - (kPreambleBytes + header.size()) % 64, ' ');
  header += '\n';
  const auto n = uint16_t(header.size());
  file_.write("\x93NUMPY\x01\x00", 8);
  file_.write(&n, sizeof(n));
  file_.write(header.data(), header.size());
}

void NpyWriter::write(std::span<const float> values) { file_.write(values.data(), values.size_bytes()); }

void write_npy(const std::filesystem::path& path, const std::vector<uint64_t>& shape, std::span<const float> values) {
  NpyWriter writer(path, shape);
  writer.write(values);
  writer.commit();
}

}  // namespace ravenwing::apps
