// A file that appears whole or not at all.
#pragma once

#include <cstdio>
#include <filesystem>

namespace ravenwing::apps {

/// Writes to a temporary file beside `path`; what was at `path` stays until commit(), which keeps its permissions.
class OutputFile {
 public:
  /// Throws Error{bad_file}, as all of it does.
  explicit OutputFile(std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  void write(const void* bytes, size_t n);
  void commit();

 private:
  [[noreturn]] void fail_io() const;

  std::filesystem::path path_, temporary_;
  std::FILE* file_ = nullptr;
};

}  // namespace ravenwing::apps
