// tests/unit/tuning_file_test.cpp: the file of what tuning measured, whole, damaged, foreign and shared by processes.
#include "model/tuning_file.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/files.hpp"

namespace ravenwing {
namespace {

const TuningEntry kTile{"tile:4/2/1/2/4/64", 20.5, 18.25};

std::string text_of(const std::filesystem::path& path) {
  const auto bytes = test::read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_CASE("tuning is kept for the same driver and for no other") {
  const test::TemporaryFolder folder;
  const auto path = folder / "new/tuning";
  TuningFile written(path, "driver 1");
  CHECK(written.find("a") == nullptr);
  written.set("a", kTile);
  written.set("b", {"default", 3, 3});
  const TuningFile read(path, "driver 1");
  REQUIRE(read.find("a") != nullptr);
  CHECK(*read.find("a") == kTile);
  CHECK(*read.find("b") == TuningEntry{"default", 3, 3});
  CHECK(read.find("c") == nullptr);
  const TuningFile other(path, "driver 2");
  CHECK(other.entries().empty());
  CHECK(other.warning().empty());  // no fault of the file
}

TEST_CASE("a new driver's tuning takes the old one's place") {
  const test::TemporaryFolder folder;
  const auto path = folder / "tuning";
  TuningFile(path, "driver 1").set("a", kTile);
  TuningFile(path, "driver 2").set("b", kTile);
  CHECK(TuningFile(path, "driver 1").entries().empty());
  CHECK(TuningFile(path, "driver 2").entries().size() == 1);
}

TEST_CASE("a tuning file that is damaged anywhere counts as empty, says so, and is written anew") {
  const test::TemporaryFolder folder;
  const auto path = folder / "tuning";
  TuningFile(path, "key").set("a", kTile);
  const std::string whole = text_of(path);
  for (size_t n = 1; n + 1 < whole.size(); ++n) {  // the last newline may be missing
    test::write_file(path, whole.substr(0, n));
    CHECK(TuningFile(path, "key").entries().empty());
  }
  const auto with_line = [](const std::string& line) { return "ravenwing tuning 1\nkey\n" + line + "end\n"; };
  std::string many;
  for (size_t i = 0; i <= TuningFile::kEntriesMax; ++i) many += std::to_string(i) + " mat 1 1\n";
  for (const std::string& text :
       {whole + "x\n", with_line("a mat 1\n"), with_line("a mat 1 2 3\n"), with_line("a mat 1 x\n"),
        with_line("a mat -1 1\n"), with_line("a mat nan 1\n"), with_line("a mat 1 inf\n"), with_line(" mat 1 1\n"),
        with_line("a  1 1\n"), with_line("\n"), with_line("a mat 1 1\na mat 1 1\n"), with_line(many),
        std::string(100000, '\0'), std::string(3 << 20, 'x')}) {
    test::write_file(path, text);
    const TuningFile damaged(path, "key");
    CHECK(damaged.entries().empty());
    CHECK(damaged.warning().find("is damaged") != std::string::npos);
  }
  TuningFile(path, "key").set("a", kTile);
  CHECK(text_of(path) == whole);
  CHECK(TuningFile(path, "key").warning().empty());
}

TEST_CASE("processes that tune at the same time keep what the others found") {
  const test::TemporaryFolder folder;
  const auto path = folder / "tuning";
  TuningFile ours(path, "key");
  const pid_t child = fork();
  if (child == 0) {
    TuningFile theirs(path, "key");
    for (int i = 0; i < 20; ++i) theirs.set("theirs" + std::to_string(i), kTile);
    _exit(0);
  }
  for (int i = 0; i < 20; ++i) ours.set("ours" + std::to_string(i), kTile);
  REQUIRE(waitpid(child, nullptr, 0) == child);
  CHECK(TuningFile(path, "key").entries().size() == 40);
}

TEST_CASE("what is forgotten is gone from the file, what others added is not") {
  const test::TemporaryFolder folder;
  const auto path = folder / "tuning";
  TuningFile file(path, "key");
  file.set("product:1", kTile);
  TuningFile(path, "key").set("chunk:1", kTile);
  file.forget([](std::string_view subject) { return subject.starts_with("product"); });
  const TuningFile read(path, "key");
  CHECK(read.find("product:1") == nullptr);
  CHECK(read.find("chunk:1") != nullptr);
}

TEST_CASE("tuning without a place to keep it holds for this process") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "file", "x");
  for (const std::filesystem::path& path : {std::filesystem::path(), folder / "file/tuning"}) {
    TuningFile file(path, "key");
    file.set("a", kTile);
    CHECK(file.find("a") != nullptr);
    CHECK(TuningFile(path, "key").entries().empty());
  }
}

}  // namespace
}  // namespace ravenwing
