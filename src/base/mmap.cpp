// src/base/mmap.cpp: opening, mapping and re-reading a regular file.
#include "base/mmap.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "base/text.hpp"

namespace ravenwing {
namespace {

constexpr uint64_t kKeepBytes = 16 << 20;  // between two reports of progress
constexpr uint64_t kWindowBytes = 1 << 20;

[[noreturn]] void fail_system(const char* action, const std::filesystem::path& path) {
  const int error = errno;
  fail(ErrorCode::bad_file, "cannot {} {}: {}", action, ravenwing::quoted(path.string(), 400), std::strerror(error));
}

int64_t modified_at(const struct stat& status) {
  return int64_t(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec;
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path, Access access) {
  // O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever; it changes nothing for a regular file.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail_system("open", path);
  MappedFile owner(std::move(*this));  // closes the descriptor where one of the steps below throws
  struct stat status;
  if (::fstat(owner.descriptor_, &status) != 0) fail_system("read", path);
  if (!S_ISREG(status.st_mode)) {
    const char* what = S_ISDIR(status.st_mode) ? "a directory" : "not a regular file";
    fail(ErrorCode::bad_file, "cannot read {}: it is {}", ravenwing::quoted(path.string(), 400), what);
  }
  if (status.st_size > 0 && access == Access::mapped) {
    void* mapped = ::mmap(nullptr, size_t(status.st_size), PROT_READ, MAP_PRIVATE, owner.descriptor_, 0);
    if (mapped == MAP_FAILED) fail_system("map", path);
    owner.data_ = static_cast<const std::byte*>(mapped);
  }
  owner.size_ = uint64_t(status.st_size);
  owner.modified_ns_ = modified_at(status);
  *this = std::move(owner);
}

MappedFile::~MappedFile() {
  if (descriptor_ < 0) return;
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_t(size_));
  ::close(descriptor_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      kept_(std::move(other.kept_)),
      size_(std::exchange(other.size_, 0)),
      modified_ns_(std::exchange(other.modified_ns_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(data_, other.data_);
  std::swap(kept_, other.kept_);
  std::swap(size_, other.size_);
  std::swap(modified_ns_, other.modified_ns_);
  return *this;
}

uint64_t MappedFile::size_on_disk() const {
  struct stat status;
  return descriptor_ >= 0 && ::fstat(descriptor_, &status) == 0 ? uint64_t(status.st_size) : 0;
}

bool MappedFile::unchanged() const {
  struct stat status;
  if (descriptor_ < 0) return true;
  if (::fstat(descriptor_, &status) != 0) return false;
  return uint64_t(status.st_size) == size_ && modified_at(status) == modified_ns_;
}

bool MappedFile::read(uint64_t offset, void* to, uint64_t n) const {
  if (offset > size_ || n > size_ - offset) return false;
  if (kept_ || descriptor_ < 0) {
    std::copy_n((kept_ ? kept_.get() : data_) + offset, n, static_cast<std::byte*>(to));
    return true;
  }
  auto* out = static_cast<std::byte*>(to);
  while (n > 0) {
    const ssize_t got = ::pread(descriptor_, out, size_t(n), off_t(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    offset += uint64_t(got);
    n -= uint64_t(got);
  }
  return true;
}

bool MappedFile::keep(const std::function<void(uint64_t done)>& progress) {
  std::unique_ptr<std::byte[]> bytes(new std::byte[size_t(size_)]);
  for (uint64_t at = 0; at < size_; at += kKeepBytes) {
    if (!read(at, bytes.get() + at, std::min(kKeepBytes, size_ - at))) return false;
    progress(std::min(at + kKeepBytes, size_));
  }
  kept_ = std::move(bytes);
  return true;
}

const std::byte* FileWindow::at(uint64_t offset, uint64_t n) {
  RAVENWING_CHECK(offset <= size() && n <= size() - offset);
  static constexpr std::byte kNothing{};
  if (n == 0) return &kNothing;
  if (file_.data() != nullptr) return file_.data() + offset;
  if (offset < begin_ || n > bytes_.size() || offset - begin_ > bytes_.size() - n) {
    bytes_.resize(size_t(std::min(std::max(n, kWindowBytes), size() - offset)));
    begin_ = offset;
    if (!file_.read(offset, bytes_.data(), bytes_.size())) {
      bytes_.clear();
      return nullptr;
    }
  }
  return bytes_.data() + (offset - begin_);
}

}  // namespace ravenwing
