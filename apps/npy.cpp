#include "npy.hpp"

#include <fmt/ranges.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>

#include "command.hpp"

namespace ravenwing::apps {

static_assert(std::endian::native == std::endian::little, "the header below says '<f4'");

NpyWriter::NpyWriter(std::filesystem::path path, const std::vector<uint64_t>& shape) : path_(std::move(path)) {
  std::error_code ignored;
  // Renaming over /dev/null or a folder is not what anybody means.
  if (std::filesystem::exists(path_, ignored) && !std::filesystem::is_regular_file(path_, ignored)) {
    fail(ErrorCode::bad_file, "cannot write '{}': it is no regular file", path_.string());
  }
  temporary_ = path_.string() + fmt::format(".{}.tmp", getpid());
  file_ = std::fopen(temporary_.c_str(), "wbxe");
  if (file_ == nullptr) fail_io();

  // Version 1.0: magic, two bytes of version, length of the header, which ends with a newline at a multiple of 64.
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}{}), }}",
                                   fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  constexpr size_t kPreambleBytes = 10;
  header.append(63 - (kPreambleBytes + header.size()) % 64, ' ');
  header += '\n';
  const auto n = uint16_t(header.size());
  write_bytes("\x93NUMPY\x01\x00", 8);
  write_bytes(&n, sizeof(n));
  write_bytes(header.data(), header.size());
}

NpyWriter::~NpyWriter() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  unlink(temporary_.c_str());
}

void NpyWriter::write(std::span<const float> values) { write_bytes(values.data(), values.size_bytes()); }

void NpyWriter::commit() {
  if (std::fflush(file_) != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) fail_io();
  std::fclose(file_);
  file_ = nullptr;
}

void NpyWriter::write_bytes(const void* bytes, size_t n) {
  if (std::fwrite(bytes, 1, n, file_) != n) fail_io();
}

void NpyWriter::fail_io() const {
  fail(ErrorCode::bad_file, "cannot write '{}': {}", path_.string(), std::strerror(errno));
}

void write_npy(const std::filesystem::path& path, const std::vector<uint64_t>& shape, std::span<const float> values) {
  NpyWriter writer(path, shape);
  writer.write(values);
  writer.commit();
}

}  // namespace ravenwing::apps
