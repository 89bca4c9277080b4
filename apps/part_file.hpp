// Output of long work, of which what is done stays when the work is ended.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

namespace ravenwing::apps {

/// `path`.part, which grows, and `path`.part.json, the settings that it is made with. All of it throws Error{bad_file}.
class PartFile {
 public:
  /// Begins anew; `resume`: goes on with what is there, if there is something, which must have the same settings.
  PartFile(std::filesystem::path path, const std::string& settings, bool resume);
  ~PartFile();
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  /// Cuts off a last line, or row, that is not whole; returns how many whole ones there are.
  uint64_t keep_lines();
  uint64_t keep_rows(uint64_t row_bytes);

  void write(const void* bytes, size_t n);
  /// What was written outlives the program.
  void flush();
  void read_rows(uint64_t row_bytes, const std::function<void(std::span<const float> row)>& visit);
  /// The part becomes the file.
  void commit();
  void remove();

 private:
  [[noreturn]] void fail_io() const;
  void cut(uint64_t n_bytes);

  std::filesystem::path path_, part_, settings_;
  std::FILE* file_ = nullptr;
};

}  // namespace ravenwing::apps
