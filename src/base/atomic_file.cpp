// src/base/atomic_file.cpp
#include "base/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <string>

#include "base/error.hpp"
#include "base/text.hpp"

namespace ravenwing {
namespace {

/// A new file that is removed again unless it was moved to its place.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& target)
      : target_(target), name_(target.native() + ".tmp-XXXXXX") {
    descriptor_ = mkostemp(name_.data(), O_CLOEXEC);
    if (descriptor_ < 0) fail_with_errno();
    // mkostemp lets only the owner read; the file gets what any other would. The mask can only be read by setting it.
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    const mode_t mask = umask(0);
    umask(mask);
    fchmod(descriptor_, 0666 & ~mask);
  }
  ~TemporaryFile() {
    if (descriptor_ >= 0) close(descriptor_);
    if (!moved_) unlink(name_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail_with_errno();
      bytes = bytes.subspan(size_t(n));
    }
  }

  void move_to_target(Flush flush) {
    if (flush == Flush::yes && fsync(descriptor_) != 0) fail_with_errno();
    // Some file systems tell of a full disk only here.
    const int closed = close(descriptor_);
    descriptor_ = -1;
    if (closed != 0 || rename(name_.c_str(), target_.c_str()) != 0) fail_with_errno();
    moved_ = true;
  }

 private:
  [[noreturn]] void fail_with_errno() const {
    fail(ErrorCode::bad_file, "{}: {}", quoted(target_.native(), 400), std::strerror(errno));
  }

  const std::filesystem::path& target_;
  std::string name_;
  int descriptor_ = -1;
  bool moved_ = false;
};

}  // namespace

void write_file_atomically(const std::filesystem::path& path, std::span<const std::span<const std::byte>> parts,
                           Flush flush) {
  TemporaryFile file(path);
  for (const auto& part : parts) file.write(part);
  file.move_to_target(flush);
}

}  // namespace ravenwing
