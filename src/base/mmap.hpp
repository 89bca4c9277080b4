// A file mapped for reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace ravenwing {

/// A regular file mapped read-only; move-only. Throws Error{bad_file} with the system's message for a directory, a
/// FIFO, a device, a missing file or one without permission. An empty file gives an empty mapping.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, size_t(size_)}; }

  /// The length of the file on disk now; less than size() means that reading the tail would raise SIGBUS.
  uint64_t size_on_disk() const;

  /// False once the file was cut, grown or rewritten in place since it was opened (its length or time of change).
  bool unchanged() const;

  /// Copies [offset, offset + n) to `to`. Returns false, without a signal, if the file has become too short: it is
  /// read through the descriptor, not through the mapping.
  bool read(uint64_t offset, void* to, uint64_t n) const;

 private:
  int descriptor_ = -1;
  const std::byte* data_ = nullptr;
  uint64_t size_ = 0;
  int64_t modified_ns_ = 0;
};

}  // namespace ravenwing
