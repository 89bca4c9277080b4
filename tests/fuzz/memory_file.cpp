// tests/fuzz/memory_file.cpp
#include "fuzz/memory_file.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.hpp"

namespace ravenwing::fuzz {

MemoryFile::MemoryFile(std::string_view prefix, std::span<const uint8_t> bytes)
    : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) {
  RAVENWING_CHECK(descriptor_ >= 0);
  append(prefix.data(), prefix.size());
  append(bytes.data(), bytes.size());
}

MemoryFile::~MemoryFile() { ::close(descriptor_); }

std::filesystem::path MemoryFile::path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

void MemoryFile::append(const void* data, size_t n) {
  if (n > 0) RAVENWING_CHECK(::write(descriptor_, data, n) == ssize_t(n));
}

MemoryFile safetensors_file(std::span<const uint8_t> bytes) {
  uint16_t n_data = 0;
  std::memcpy(&n_data, bytes.data(), std::min(bytes.size(), sizeof(n_data)));
  bytes = bytes.subspan(std::min(bytes.size(), sizeof(n_data)));
  const uint64_t n_header = bytes.size() - std::min<size_t>(n_data, bytes.size());
  std::string length(sizeof(n_header), '\0');
  std::memcpy(length.data(), &n_header, sizeof(n_header));
  return MemoryFile(length, bytes);
}

}  // namespace ravenwing::fuzz
