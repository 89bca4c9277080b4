// src/base/resources.cpp: looks beside the program, so that it works from any working directory.
#include "base/resources.hpp"

#include <cstdlib>

#include "base/error.hpp"

namespace ravenwing {

namespace fs = std::filesystem;

fs::path executable_dir() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) fail(ErrorCode::bad_file, "[resources] /proc/self/exe: {}", error.message());
  return program.parent_path();
}

std::optional<fs::path> find_resource(std::string_view relative) {
  // An unreadable folder counts as a missing one: the caller's message says what was looked for.
  std::error_code ignored;
  if (const char* home = std::getenv("RAVENWING_HOME"); home && *home) {
    if (fs::path found = fs::path(home) / relative; fs::exists(found, ignored)) return found;
  }
  fs::path found = executable_dir().parent_path() / "share" / "ravenwing" / relative;
  if (fs::exists(found, ignored)) return found;
  return std::nullopt;
}

std::optional<fs::path> cache_folder() {
  if (const char* folder = std::getenv("RAVENWING_CACHE_DIR"))
    return *folder ? std::optional<fs::path>(folder) : std::nullopt;
  // The XDG specification has relative paths ignored.
  if (const char* folder = std::getenv("XDG_CACHE_HOME"); folder && *folder == '/')
    return fs::path(folder) / "ravenwing";
  if (const char* home = std::getenv("HOME"); home && *home == '/') return fs::path(home) / ".cache" / "ravenwing";
  return std::nullopt;
}

}  // namespace ravenwing
