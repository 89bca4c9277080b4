#include "part_file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "command.hpp"
#include "output_file.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {

PartFile::PartFile(std::filesystem::path path, const std::string& settings, bool resume)
    : path_(std::move(path)), part_(path_.string() + ".part"), settings_(part_.string() + ".json") {
  std::error_code error;
  if (std::filesystem::exists(path_, error) && !std::filesystem::is_regular_file(path_, error))
    fail(ErrorCode::bad_file, "cannot write '{}': it is no regular file", path_.string());
  const bool is_there = std::filesystem::exists(part_, error) && std::filesystem::exists(settings_, error);
  if (resume && is_there && read_bytes(settings_.string()) != settings) {
    fail(ErrorCode::bad_request,
         "'{}' was begun with other settings, which '{}' has: give those again, or begin anew without --resume",
         part_.string(), settings_.string());
  }
  file_ = std::fopen(part_.c_str(), resume && is_there ? "r+be" : "w+be");
  if (file_ == nullptr) fail_io();
  OutputFile kept(settings_);
  kept.write(settings.data(), settings.size());
  kept.commit();
}

PartFile::~PartFile() {
  if (file_ != nullptr) std::fclose(file_);
}

void PartFile::cut(uint64_t n_bytes) {
  if (std::fflush(file_) != 0 || ftruncate(fileno(file_), off_t(n_bytes)) != 0 ||
      fseeko(file_, off_t(n_bytes), SEEK_SET) != 0) {
    fail_io();
  }
}

uint64_t PartFile::keep_lines() {
  std::rewind(file_);
  uint64_t n_lines = 0, n_bytes = 0, n_read = 0;
  std::vector<char> bytes(1 << 16);
  for (size_t n; (n = std::fread(bytes.data(), 1, bytes.size(), file_)) > 0;) {
    for (size_t i = 0; i < n; ++i) {
      ++n_read;
      if (bytes[i] != '\n') continue;
      ++n_lines;
      n_bytes = n_read;
    }
  }
  if (std::ferror(file_) != 0) fail_io();
  cut(n_bytes);
  return n_lines;
}

uint64_t PartFile::keep_rows(uint64_t row_bytes) {
  if (fseeko(file_, 0, SEEK_END) != 0) fail_io();
  const uint64_t n_rows = uint64_t(ftello(file_)) / row_bytes;
  cut(n_rows * row_bytes);
  return n_rows;
}

void PartFile::write(const void* bytes, size_t n) {
  if (std::fwrite(bytes, 1, n, file_) != n) fail_io();
}

void PartFile::flush() {
  if (std::fflush(file_) != 0) fail_io();
}

void PartFile::read_rows(uint64_t row_bytes, const std::function<void(std::span<const float>)>& visit) {
  flush();
  std::rewind(file_);
  std::vector<float> row(row_bytes / sizeof(float));
  while (std::fread(row.data(), 1, row_bytes, file_) == row_bytes) visit(row);
  if (std::ferror(file_) != 0) fail_io();
}

void PartFile::commit() {
  if (std::fflush(file_) != 0 || fsync(fileno(file_)) != 0 || std::rename(part_.c_str(), path_.c_str()) != 0) fail_io();
  remove();
}

void PartFile::remove() {
  std::fclose(file_);
  file_ = nullptr;
  unlink(part_.c_str());
  unlink(settings_.c_str());
}

void PartFile::fail_io() const {
  fail(ErrorCode::bad_file, "cannot write '{}': {}", part_.string(), std::strerror(errno));
}

}  // namespace ravenwing::apps
