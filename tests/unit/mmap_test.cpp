// tests/unit/mmap_test.cpp: mapping regular files, refusing everything else, and noticing that a file changed.
#include "base/mmap.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "support/files.hpp"

using namespace ravenwing;

namespace {

std::string refusal(const std::filesystem::path& path) {
  try {
    MappedFile file(path);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::bad_file);
    return error.what();
  }
  return "";
}

bool has(const std::string& text, std::string_view part) {
  INFO(text);
  return text.find(part) != text.npos;
}

}  // namespace

TEST_CASE("a mapped file shows its bytes, and keeps them when it moves") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "a", std::string_view("hello"));
  MappedFile first(folder / "a");
  REQUIRE(first.size() == 5);
  MappedFile second(std::move(first));
  CHECK(first.size() == 0);
  first = std::move(second);
  CHECK(std::memcmp(first.data(), "hello", 5) == 0);
  char part[3] = {};
  CHECK(first.read(1, part, 3));
  CHECK(std::memcmp(part, "ell", 3) == 0);
  CHECK_FALSE(first.read(3, part, 3));
  CHECK_FALSE(first.read(~uint64_t(0), part, 2));
}

TEST_CASE("a file that is read is not mapped; one that is kept is read once") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "a", std::string_view("hello"));
  MappedFile file(folder / "a", MappedFile::Access::read);
  CHECK(file.data() == nullptr);
  CHECK(file.bytes().empty());
  REQUIRE(file.size() == 5);
  char part[5] = {};
  CHECK(file.read(0, part, 5));
  CHECK(std::memcmp(part, "hello", 5) == 0);
  uint64_t done = 0;
  CHECK(file.keep([&](uint64_t n) { done = n; }));
  CHECK(done == 5);
  test::write_file(folder / "a", std::string_view("HE"));
  CHECK_FALSE(file.unchanged());
  MappedFile moved = std::move(file);
  CHECK(moved.read(1, part, 4));
  CHECK(std::memcmp(part, "ello", 4) == 0);
  CHECK_FALSE(moved.read(2, part, 4));
  moved.forget();
  CHECK_FALSE(moved.read(1, part, 4));
  CHECK(moved.read(0, part, 2));
  CHECK(std::memcmp(part, "HE", 2) == 0);
}

TEST_CASE("keeping a file can be given up, and fails where it was cut") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "a", std::string_view("hello"));
  MappedFile file(folder / "a", MappedFile::Access::read);
  CHECK_THROWS_AS(file.keep([](uint64_t) { throw Error(ErrorCode::cancelled, "cancelled"); }), Error);
  std::filesystem::resize_file(folder / "a", 2);
  CHECK_FALSE(file.keep([](uint64_t) {}));
}

TEST_CASE("RELIABILITY 16: a window shows the same bytes mapped and read, and notices where the file was cut") {
  const test::TemporaryFolder folder;
  std::string text(3 << 20, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = char(i * 31 + i / 253);
  test::write_file(folder / "a", text);
  const MappedFile mapped(folder / "a"), read(folder / "a", MappedFile::Access::read);
  FileWindow of_mapped(mapped), of_read(read);
  const uint64_t stretches[][2] = {{0, 8},       {8, 100},     {(1 << 20) - 4, 8}, {5, 2 << 20},
                                   {0, 3 << 20}, {3 << 20, 0}, {(3 << 20) - 1, 1}, {7, 7}};
  for (const auto& [offset, n] : stretches) {
    CHECK(std::memcmp(of_mapped.at(offset, n), text.data() + offset, n) == 0);
    CHECK(std::memcmp(of_read.at(offset, n), text.data() + offset, n) == 0);
  }
  FileWindow other(read);
  CHECK(other.at(0, 4) != nullptr);
  std::filesystem::resize_file(folder / "a", 100);
  CHECK(other.at(2 << 20, 4) == nullptr);
}

TEST_CASE("an empty file is an empty mapping") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "empty", std::string_view());
  const MappedFile file(folder / "empty");
  CHECK(file.size() == 0);
  CHECK(file.bytes().empty());
  CHECK(file.unchanged());
}

TEST_CASE("bytes in memory are read as a file is") {
  const std::string text = "some bytes";
  MappedFile file(std::as_bytes(std::span(text)));
  MappedFile moved = std::move(file);
  CHECK(moved.size() == text.size());
  CHECK(moved.bytes().data() == std::as_bytes(std::span(text)).data());
  CHECK(moved.unchanged());
  std::string part(5, '\0');
  CHECK(moved.read(5, part.data(), 5));
  CHECK(part == "bytes");
  CHECK_FALSE(moved.read(6, part.data(), 5));
  const MappedFile nothing(std::span<const std::byte>{});
  CHECK(nothing.read(0, part.data(), 0));
  CHECK_FALSE(nothing.read(0, part.data(), 1));
}

TEST_CASE("RELIABILITY 37: directory, FIFO, device, missing file, link loop") {
  const test::TemporaryFolder folder;
  CHECK(has(refusal(folder.path()), "a directory"));
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  CHECK(has(refusal(folder / "fifo"), "not a regular file"));
  CHECK(has(refusal("/dev/zero"), "not a regular file"));
  CHECK(has(refusal(folder / "missing"), "No such file"));
  std::filesystem::create_symlink(folder / "loop", folder / "loop");
  CHECK(has(refusal(folder / "loop"), "symbolic link"));
  CHECK(has(refusal(folder / "line\nbreak"), "line\\x0abreak"));
}

TEST_CASE("RELIABILITY 16: a file that shrinks under its mapping is noticed without a signal") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "a", std::string(100'000, 'x'));
  const MappedFile file(folder / "a");
  CHECK(file.unchanged());
  std::filesystem::resize_file(folder / "a", 10);
  CHECK_FALSE(file.unchanged());
  CHECK(file.size_on_disk() == 10);
  std::string part(20, '\0');
  CHECK(file.read(0, part.data(), 10));
  CHECK_FALSE(file.read(0, part.data(), 20));
  CHECK_FALSE(file.read(99'980, part.data(), 20));
}

TEST_CASE("RELIABILITY 16: a file rewritten in place at the same length is noticed") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "a", std::string(1000, 'x'));
  std::filesystem::last_write_time(folder / "a", std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  const MappedFile file(folder / "a");
  CHECK(file.unchanged());
  test::write_file(folder / "a", std::string(1000, 'y'));
  CHECK_FALSE(file.unchanged());
}

TEST_CASE("RELIABILITY 16: a file replaced by another of the same name stays what it was") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "a", std::string_view("old text"));
  const MappedFile file(folder / "a");
  test::write_file(folder / "b", std::string_view("new"));
  std::filesystem::rename(folder / "b", folder / "a");
  CHECK(file.unchanged());
  CHECK(std::memcmp(file.data(), "old text", 8) == 0);
}
