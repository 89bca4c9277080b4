// src/base/resources.cpp: looks beside the program or the library, so that it works from any working directory.
#include "base/resources.hpp"

#include <dlfcn.h>
#include <link.h>
#include <sys/stat.h>

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

fs::path library_dir() {
  Dl_info info = {};
  link_map* map = nullptr;
  const auto here = reinterpret_cast<const void*>(&library_dir);
  // The program itself has no name there.
  if (dladdr1(here, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0 || map->l_name[0] == '\0') {
    return executable_dir();
  }
  std::error_code error;
  const fs::path library = fs::canonical(map->l_name, error);
  if (error) fail(ErrorCode::bad_file, "[resources] {}: {}", map->l_name, error.message());
  return library.parent_path();
}

std::optional<fs::path> find_resource(std::string_view relative) {
  // An unreadable folder counts as a missing one: the caller's message says what was looked for.
  std::error_code ignored;
  if (const char* home = std::getenv("RAVENWING_HOME"); home && *home) {
    if (fs::path found = fs::path(home) / relative; fs::exists(found, ignored)) return found;
  }
  const fs::path beside = library_dir();
  for (const fs::path& root : {beside.parent_path(), beside}) {
    if (fs::path found = root / "share" / "ravenwing" / relative; fs::exists(found, ignored)) return found;
  }
  return std::nullopt;
}

std::string binary_id(const void* symbol) {
  Dl_info info = {};
  link_map* map = nullptr;
  if (symbol == nullptr || dladdr1(symbol, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0)
    return "unknown";
  struct stat status = {};
  if (stat(map->l_name[0] == '\0' ? "/proc/self/exe" : map->l_name, &status) != 0) return "unknown";
  return fmt::format("{}-{}", status.st_size, status.st_mtim.tv_sec);
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
