// Files that fuzzers make of their bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace ravenwing::fuzz {

/// An anonymous file that has a path.
class MemoryFile {
 public:
  MemoryFile(std::string_view prefix, std::span<const uint8_t> bytes);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::filesystem::path path() const;

 private:
  void append(const void* data, size_t n);

  int descriptor_;
};

/// A safetensors file of a fuzzer's bytes: the first two say how much of the others lies behind the header, so that the
/// header's length is nearly always right.
MemoryFile safetensors_file(std::span<const uint8_t> bytes);

}  // namespace ravenwing::fuzz
