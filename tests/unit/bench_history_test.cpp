// apps/bench_history.cpp: the markdown file of `bench --title`.
#include "../../apps/bench_history.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>
#include <vector>

#include "ravenwing/error.hpp"
#include "support/files.hpp"

using namespace ravenwing;
using namespace ravenwing::apps;
using test::TemporaryFolder;

namespace {

HistoryRow row(const std::string& change, const std::string& decode = "100.0 (99.0 to 101.0)") {
  HistoryRow row;
  row.fill("x");
  row[kChange] = change;
  row[kLoad] = "200.0 / 800.0";
  row[kPrompt] = "512";
  row[kPrefill] = "1000 (990 to 1010)";
  row[kDecode] = decode;
  row[kSequences] = "32";
  row[kBatchDecode] = "3000 (2990 to 3010)";
  row[kEnergy] = "-";
  row[kQuality] = "c78db2e78525c641, 3.02541";
  return row;
}

std::string added(const std::string& text, const std::string& title, const HistoryRow& row) {
  return with_row(text, title, row, "history.md");
}

/// The last cell of the line that begins with this change.
std::string delta(const std::string& text, const std::string& change) {
  const size_t begin = text.find("\n| " + change + " |");
  REQUIRE(begin != text.npos);
  const std::string line = text.substr(begin + 1, text.find('\n', begin + 1) - begin - 1);
  const size_t cell = line.rfind(" | ");
  return line.substr(cell + 3, line.size() - cell - 5);
}

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

ErrorCode code_of(const std::string& text, const std::string& title, std::string_view words) {
  try {
    added(text, title, row("a"));
  } catch (const Error& error) {
    INFO(error.what());
    CHECK(std::string(error.what()).find(words) != std::string::npos);
    return error.code();
  }
  FAIL("no error was thrown");
  return ErrorCode::bad_request;
}

}  // namespace

TEST_SUITE("bench_history") {
  TEST_CASE("a new file, a new row, a new title") {
    const std::string one = added("", "Faster head", row("before"));
    CHECK(one.starts_with("# "));
    CHECK(one.find("\n\n## Faster head\n\n| change | model |") != one.npos);
    CHECK(delta(one, "before") == "-");
    const std::string two = added(one, "  Faster head ", row("after", "112.5 (112.0 to 113.0)"));
    CHECK(two.starts_with(one));
    CHECK(delta(two, "after") == "load +0.0 %, prefill +0.0 %, decode +12.5 %, sequences +0.0 %");
    const std::string three = added(two, "Another", row("first"));
    CHECK(three.starts_with(two + "\n## Another\n\n|"));
    // The row of the first section goes to its end, all else stays.
    const std::string four = added(three, "Faster head", row("last", "50.0"));
    CHECK(four.starts_with(two));
    CHECK(four.ends_with(three.substr(two.size())));
    CHECK(delta(four, "last") == "load +0.0 %, prefill +0.0 %, decode -50.0 %, sequences +0.0 %");
  }

  TEST_CASE("what is compared: the first row of the same model and device, and the same work") {
    std::string text = added("", "T", row("a"));
    HistoryRow other = row("b", "400.0");
    other[kDevice] = "another";
    text = added(text, "T", other);
    CHECK(delta(text, "b") == "-");
    other[kChange] = "c";
    other[kDecode] = "500.0";
    other[kPrompt] = "2048";
    other[kSequences] = "8";
    other[kEnergy] = "0.5";
    other[kQuality] = "0000000000000000, 3.02541";
    text = added(text, "T", other);
    CHECK(delta(text, "c") == "load +0.0 %, decode +25.0 %, other hash");
  }

  TEST_CASE("cells hold bars, line feeds and blanks") {
    HistoryRow odd = row("a | b\nc");
    odd[kModel] = " x|y\\|z ";
    std::string text = added("", "T", odd);
    CHECK(text.find("\n| a \\| b c | x\\|y\\\\|z |") != text.npos);
    odd[kChange] = "second";
    text = added(text, "T", odd);
    CHECK(delta(text, "second") == "load +0.0 %, prefill +0.0 %, decode +0.0 %, sequences +0.0 %");
  }

  TEST_CASE("all else of the file stays as it is") {
    const std::string table = added("", "T", row("a"));
    const std::string section = table.substr(table.find("## T"));
    const std::string before = "Text\n\n```\n## T\n```\n~~~\n## T\n~~~\n### T\n\n",
                      after = "\n Words. \n\n# End\n## T2\nno end";
    const std::string longer = added(before + section + after, "T", row("b"));
    CHECK(longer.starts_with(before + section));
    CHECK(longer.ends_with(after));
    CHECK(longer.size() > before.size() + section.size() + after.size());
    SUBCASE("without a line feed at the end") {
      const std::string cut = table.substr(0, table.size() - 1);
      CHECK(added(cut, "T", row("b")).starts_with(table));
      CHECK(added(cut, "U", row("b")).starts_with(table + "\n## U\n"));
    }
    SUBCASE("lines end as they did") {
      std::string crlf;
      for (const char c : table) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
      for (const char* title : {"T", "U"}) {
        const std::string text = added(crlf, title, row("b"));
        CHECK(text.starts_with(crlf));
        CHECK(std::count(text.begin(), text.end(), '\n') == std::count(text.begin(), text.end(), '\r'));
      }
    }
  }

  TEST_CASE("a section of that title without the table is refused") {
    for (const char* text : {"## T\n", "## T\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n", "## T\nwords\n## U\n"}) {
      CHECK(code_of(text, "T", "'history.md' has a section 'T' without the table") == ErrorCode::bad_file);
    }
    // The table of another section is not its own.
    CHECK(code_of("## T\n" + added("", "U", row("a")), "T", "--title") == ErrorCode::bad_file);
  }

  TEST_CASE("the file: links and permissions stay, several processes lose no row") {
    const TemporaryFolder folder;
    const std::filesystem::path file = folder / "file.md", link = folder / "link.md";
    append_to_history(file, "T", row("first"));
    chmod(file.c_str(), 0640);
    std::filesystem::create_symlink("file.md", link);
    constexpr int kWriters = 4, kRows = 10;
    std::vector<std::thread> writers;
    for (int writer = 0; writer < kWriters; ++writer) {
      writers.emplace_back([&, writer] {
        for (int i = 0; i < kRows; ++i) append_to_history(link, "T", row(fmt::format("{}-{}", writer, i)));
      });
    }
    for (std::thread& writer : writers) writer.join();
    const std::string text = content(file);
    for (int i = 0; i < kWriters * kRows; ++i)
      CHECK(text.find(fmt::format("\n| {}-{} |", i / kRows, i % kRows)) != text.npos);
    CHECK(std::filesystem::is_symlink(link));
    struct stat status = {};
    REQUIRE(stat(file.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0640);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 2);  // nothing is left over
  }

  TEST_CASE("what cannot be is told before anything is measured") {
    const TemporaryFolder folder;
    const auto code = [&](const std::filesystem::path& path, const char* title) {
      try {
        check_history(path, title);
      } catch (const Error& error) {
        return std::optional(error.code());
      }
      return std::optional<ErrorCode>();
    };
    CHECK(!code(folder / "new.md", "T"));
    CHECK(!std::filesystem::exists(folder / "new.md"));
    CHECK(code(folder / "new.md", " ") == ErrorCode::bad_request);
    CHECK(code(folder / "new.md", "a\nb") == ErrorCode::bad_request);
    CHECK(code(folder / "none/new.md", "T") == ErrorCode::bad_file);
    CHECK(code(folder.path(), "T") == ErrorCode::bad_file);
    std::ofstream(folder / "own.md") << "## T\n";
    CHECK(code(folder / "own.md", "T") == ErrorCode::bad_file);
  }
}
