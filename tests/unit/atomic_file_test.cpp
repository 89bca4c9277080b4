// tests/unit/atomic_file_test.cpp: files that are there whole or not at all.
#include "base/atomic_file.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <csignal>
#include <string>

#include "base/error.hpp"
#include "support/files.hpp"

using namespace ravenwing;
namespace fs = std::filesystem;

namespace {

/// While it lives no file of this process grows beyond `n_bytes`, as if the disk were full.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t n_bytes) : on_signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before_) == 0);
    const rlimit limit{n_bytes, before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~SmallDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, on_signal_);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

 private:
  rlimit before_{};
  void (*on_signal_)(int);
};

void write_parts(const fs::path& path, const std::string& first, const std::string& second) {
  const std::array parts = {std::as_bytes(std::span(first)), std::as_bytes(std::span(second))};
  write_file_atomically(path, parts);
}

/// What the Error says that writing throws; "" where it succeeds.
std::string error_of_writing(const fs::path& path, const std::string& first, const std::string& second) {
  try {
    write_parts(path, first, second);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::bad_file);
    return error.what();
  }
  return "";
}

std::string text_of(const fs::path& path) {
  const std::vector<std::byte> bytes = test::read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

size_t n_files(const fs::path& folder) {
  return size_t(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("RELIABILITY 35: a file takes the place of another, whole and for the same readers") {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "file";
  const mode_t mask = umask(022);
  write_parts(path, "old", "er");
  write_parts(path, "", "new");
  umask(mask);
  CHECK(text_of(path) == "new");
  CHECK(fs::status(path).permissions() == fs::perms(0644));
  CHECK(n_files(folder.path()) == 1);
}

TEST_CASE("RELIABILITY 38: a full disk leaves the old file and nothing else, wherever it ends") {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "file";
  write_parts(path, "old", "");
  for (const size_t n_first : {100u, 4096u, 5000u}) {
    const SmallDisk disk(4096);
    const std::string text = error_of_writing(path, std::string(n_first, 'a'), std::string(5000, 'b'));
    CHECK(text.find("file") != text.npos);
    CHECK(text.find("File too large") != text.npos);
    CHECK(text_of(path) == "old");
    CHECK(n_files(folder.path()) == 1);
  }
  CHECK(error_of_writing(path, std::string(5000, 'a'), "b") == "");
  CHECK(fs::file_size(path) == 5001);
}

TEST_CASE("RELIABILITY 38: places where no file can be") {
  const test::TemporaryFolder folder;
  CHECK(error_of_writing(folder / "none/file", "a", "").find("No such file") != std::string::npos);
  fs::create_directory(folder / "folder");
  CHECK(error_of_writing(folder / "folder", "a", "").find("Is a directory") != std::string::npos);
  CHECK(n_files(folder.path()) == 1);
}
