// tests/unit/verdicts_test.cpp: the file of self-test verdicts, whole, damaged, foreign and shared by processes.
#include "model/verdicts.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/files.hpp"

namespace ravenwing {
namespace {

using State = Verdict::State;
const Verdict kBad{State::bad, "gave wrong numbers (off by 3)"};

std::string text_of(const std::filesystem::path& path) {
  const auto bytes = test::read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_CASE("verdicts are kept for the same key and for no other") {
  const test::TemporaryFolder folder;
  const auto path = folder / "new/verdicts";
  Verdicts written(path, "a driver");
  CHECK_FALSE(written.find("T1"));
  written.set("T1", kBad);
  written.set("T0", {});
  const Verdicts read(path, "a driver");
  CHECK(read.find("T1") == kBad);
  CHECK(read.find("T0") == Verdict{});
  CHECK_FALSE(read.find("T2"));
  CHECK_FALSE(Verdicts(path, "another driver").find("T1"));
  CHECK_FALSE(Verdicts(path, "a drive").find("T1"));
}

TEST_CASE("a file that is damaged anywhere counts as empty, and is written anew") {
  const test::TemporaryFolder folder;
  const auto path = folder / "verdicts";
  Verdicts(path, "key").set("T1", kBad);
  const std::string whole = text_of(path);
  for (size_t n = 0; n + 1 < whole.size(); ++n) {  // the last newline may be missing
    test::write_file(path, whole.substr(0, n));
    CHECK_FALSE(Verdicts(path, "key").find("T1"));
  }
  const auto with_line = [](const std::string& line) { return "ravenwing self-test 1\nkey\n" + line + "end\n"; };
  for (const std::string& text :
       {whole + "x\n", with_line("T1 bad\n"), with_line("T1 good really\n"), with_line("T1 fine\n"), with_line("T1\n"),
        with_line(" good\n"), with_line("T1 good\nT1 good\n"), with_line("\n"), std::string(100000, '\0')}) {
    test::write_file(path, text);
    Verdicts verdicts(path, "key");
    CHECK_FALSE(verdicts.find("T1"));
  }
  Verdicts(path, "key").set("T1", kBad);
  CHECK(text_of(path) == whole);
}

TEST_CASE("control characters in a key or a reason make no lines") {
  const test::TemporaryFolder folder;
  const auto path = folder / "verdicts";
  Verdicts(path, "two\nlines").set("T1", {State::bad, "a\nT0 good\nend"});
  const Verdicts read(path, "two\nlines");
  CHECK(read.find("T1") == Verdict{State::bad, "a T0 good end"});
  CHECK_FALSE(read.find("T0"));
}

TEST_CASE("what begins alike is forgotten together") {
  const test::TemporaryFolder folder;
  Verdicts verdicts(folder / "verdicts", "key");
  for (const char* subject : {"T1-fast", "T1-exact", "T0-fast"}) verdicts.set(subject, {});
  verdicts.forget("T1");
  const Verdicts read(folder / "verdicts", "key");
  CHECK_FALSE(read.find("T1-fast"));
  CHECK_FALSE(read.find("T1-exact"));
  CHECK(read.find("T0-fast"));
}

TEST_CASE("a process that ends in its test leaves its mark and no lock") {
  const test::TemporaryFolder folder;
  const auto path = folder / "verdicts";
  const pid_t child = fork();
  if (child == 0) {
    Verdicts verdicts(path, "key");
    const Verdicts::Lock lock(verdicts);
    verdicts.set("T2", {State::testing, ""});
    _exit(0);
  }
  Verdicts verdicts(path, "key");  // may be read before the child has written
  REQUIRE(waitpid(child, nullptr, 0) == child);
  const Verdicts::Lock lock(verdicts);
  CHECK(verdicts.find("T2") == Verdict{State::testing, ""});
}

TEST_CASE("without a place to keep them verdicts hold for this process") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "file", "x");
  for (const std::filesystem::path& path : {std::filesystem::path(), folder / "file/verdicts"}) {
    Verdicts verdicts(path, "key");
    verdicts.set("T1", kBad);
    CHECK(verdicts.find("T1") == kBad);
    CHECK_FALSE(Verdicts(path, "key").find("T1"));
  }
}

}  // namespace
}  // namespace ravenwing
