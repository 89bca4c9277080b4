// tests/support/shared_data.cpp: where the shared data lies.
#include "support/shared_data.hpp"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

namespace ravenwing::test {

std::optional<std::filesystem::path> shared_data() {
  const char* named = std::getenv("RAVENWING_SHARED");
  const std::filesystem::path beside = std::filesystem::path(RAVENWING_SOURCE_DIR).parent_path() / "shared";
  const std::filesystem::path folder = named != nullptr ? std::filesystem::path(named) : beside;
  if (std::filesystem::is_directory(folder / "models")) return folder;
  const char* required = std::getenv("RAVENWING_REQUIRE_SHARED");
  if (required != nullptr && std::string_view(required) == "1") {
    throw std::runtime_error("no shared data in " + folder.string() + ", and RAVENWING_REQUIRE_SHARED is 1");
  }
  static const bool said = std::printf("no shared data in %s: tests that need it are skipped\n", folder.c_str()) > 0;
  (void)said;
  return std::nullopt;
}

}  // namespace ravenwing::test
