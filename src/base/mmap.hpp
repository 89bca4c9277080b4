// A file for reading, mapped or not, or bytes in its place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace ravenwing {

/// A regular file opened read-only; move-only. Throws Error{bad_file} with the system's message for a directory, a
/// FIFO, a device, a missing file or one without permission. An empty file gives an empty mapping.
class MappedFile {
 public:
  /// `read`: no mapping, so that nothing that happens to the file can raise a signal; data() is null.
  enum class Access { mapped, read };

  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path, Access access = Access::mapped);
  /// Bytes of the caller's, which must outlive it, as if a file held them.
  explicit MappedFile(std::span<const std::byte> bytes) : data_(bytes.data()), size_(bytes.size()) {}
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }
  /// Of a mapping.
  std::span<const std::byte> bytes() const { return {data_, data_ == nullptr ? 0 : size_t(size_)}; }

  /// The length of the file on disk now, 0 where there is none; less than size() means that reading the tail would
  /// raise SIGBUS.
  uint64_t size_on_disk() const;

  /// False once the file was cut, grown or rewritten in place since it was opened (its length or time of change).
  bool unchanged() const;

  /// Copies [offset, offset + n) to `to`. Returns false, without a signal, if the file has become too short: it is
  /// read through the descriptor, not through the mapping. For any thread.
  bool read(uint64_t offset, void* to, uint64_t n) const;

  /// Reads all of the file into memory, from where read() copies until forget(). `progress` is told how many bytes
  /// are there and may throw. Returns false if the file has become shorter.
  bool keep(const std::function<void(uint64_t done)>& progress);
  void forget() { kept_.reset(); }

 private:
  int descriptor_ = -1;  // -1: there is no file, data_ is somebody else's
  const std::byte* data_ = nullptr;
  std::unique_ptr<std::byte[]> kept_;
  uint64_t size_ = 0;
  int64_t modified_ns_ = 0;
};

/// Shows a parser one stretch of a file after another: of its mapping, or read as they are asked for.
class FileWindow {
 public:
  explicit FileWindow(const MappedFile& file) : file_(file) {}

  uint64_t size() const { return file_.size(); }
  /// The bytes [offset, offset + n), which must lie within size(); valid until the next call. Null if the file has
  /// become shorter.
  const std::byte* at(uint64_t offset, uint64_t n);

 private:
  const MappedFile& file_;
  std::vector<std::byte> bytes_;
  uint64_t begin_ = 0;
};

}  // namespace ravenwing
