#include "output_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "command.hpp"

namespace ravenwing::apps {

OutputFile::OutputFile(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code ignored;
  // Renaming over /dev/null or a folder is not what anybody means.
  if (std::filesystem::exists(path_, ignored) && !std::filesystem::is_regular_file(path_, ignored)) {
    fail(ErrorCode::bad_file, "cannot write '{}': it is no regular file", path_.string());
  }
  temporary_ = path_.string() + fmt::format(".{}.tmp", getpid());
  file_ = std::fopen(temporary_.c_str(), "wbxe");
  if (file_ == nullptr) fail_io();
  struct stat old = {};
  if (stat(path_.c_str(), &old) == 0) fchmod(fileno(file_), old.st_mode & 0777);
}

OutputFile::~OutputFile() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  unlink(temporary_.c_str());
}

void OutputFile::write(const void* bytes, size_t n) {
  if (std::fwrite(bytes, 1, n, file_) != n) fail_io();
}

void OutputFile::commit() {
  if (std::fflush(file_) != 0 || fsync(fileno(file_)) != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0)
    fail_io();
  std::fclose(file_);
  file_ = nullptr;
}

void OutputFile::fail_io() const {
  fail(ErrorCode::bad_file, "cannot write '{}': {}", path_.string(), std::strerror(errno));
}

}  // namespace ravenwing::apps
