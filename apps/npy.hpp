// Arrays of float32 in NumPy's file format.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace ravenwing::apps {

/// Writes an array piece by piece under a temporary name beside its own; only commit() makes it appear. Throws
/// Error{bad_file}.
class NpyWriter {
 public:
  NpyWriter(std::filesystem::path path, const std::vector<uint64_t>& shape);
  ~NpyWriter();
  NpyWriter(const NpyWriter&) = delete;
  NpyWriter& operator=(const NpyWriter&) = delete;

  void write(std::span<const float> values);
  void commit();

 private:
  void write_bytes(const void* bytes, size_t n);
  [[noreturn]] void fail_io() const;

  std::filesystem::path path_, temporary_;
  std::FILE* file_ = nullptr;
};

void write_npy(const std::filesystem::path& path, const std::vector<uint64_t>& shape, std::span<const float> values);

}  // namespace ravenwing::apps
