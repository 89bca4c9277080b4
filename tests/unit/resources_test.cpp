// tests/unit/resources_test.cpp: the search order of find_resource.
#include "base/resources.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace ravenwing {
namespace {

namespace fs = std::filesystem;

/// A file made for one test, with the folders above it; all that was made is removed at the end.
struct TemporaryFile {
  fs::path root;
  fs::path path;
  TemporaryFile(const fs::path& root_folder, const fs::path& relative) : root(root_folder), path(root / relative) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << "x";
  }
  ~TemporaryFile() { fs::remove_all(root); }
};

struct HomeVariable {
  explicit HomeVariable(const fs::path& value) { setenv("RAVENWING_HOME", value.c_str(), 1); }
  ~HomeVariable() { unsetenv("RAVENWING_HOME"); }
};

TEST_CASE("the program's folder holds the program") {
  CHECK(executable_dir().is_absolute());
  CHECK(fs::exists(executable_dir() / "unit_tests"));
}

TEST_CASE("resources are found beside the program, and RAVENWING_HOME comes first") {
  unsetenv("RAVENWING_HOME");
  CHECK_FALSE(find_resource("resources_test/nothing").has_value());

  const fs::path share = executable_dir().parent_path() / "share" / "ravenwing";
  const TemporaryFile beside(share / "resources_test", "file");
  CHECK(find_resource("resources_test/file") == beside.path);

  const fs::path home = fs::temp_directory_path() / fs::path("ravenwing_home_" + std::to_string(getpid()));
  const TemporaryFile in_home(home, "resources_test/file");
  const HomeVariable variable(home);
  CHECK(find_resource("resources_test/file") == in_home.path);
}

TEST_CASE("what RAVENWING_HOME lacks is taken from beside the program") {
  const TemporaryFile beside(executable_dir().parent_path() / "share" / "ravenwing" / "resources_test", "file");
  const HomeVariable variable(fs::temp_directory_path() / "ravenwing_no_such_folder");
  CHECK(find_resource("resources_test/file") == beside.path);
}

TEST_CASE("the cache's folder: our own variable, then XDG's, then the home folder") {
  struct Variable {
    explicit Variable(const char* key) : name(key) {
      if (const char* value = std::getenv(key)) before = value;
      unsetenv(key);
    }
    ~Variable() { before ? setenv(name, before->c_str(), 1) : unsetenv(name); }
    const char* name;
    std::optional<std::string> before;
  };
  const Variable own("RAVENWING_CACHE_DIR"), xdg("XDG_CACHE_HOME"), home("HOME");
  CHECK_FALSE(cache_folder().has_value());
  setenv("HOME", "/h", 1);
  CHECK(cache_folder() == fs::path("/h/.cache/ravenwing"));
  setenv("XDG_CACHE_HOME", "relative", 1);
  CHECK(cache_folder() == fs::path("/h/.cache/ravenwing"));
  setenv("XDG_CACHE_HOME", "/caches", 1);
  CHECK(cache_folder() == fs::path("/caches/ravenwing"));
  setenv("RAVENWING_CACHE_DIR", "/own", 1);
  CHECK(cache_folder() == fs::path("/own"));
  setenv("RAVENWING_CACHE_DIR", "", 1);
  CHECK_FALSE(cache_folder().has_value());
}

}  // namespace
}  // namespace ravenwing
