#include "bench_history.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <vector>

#include "command.hpp"
#include "output_file.hpp"

namespace ravenwing::apps {
namespace {

constexpr std::array<std::string_view, kColumnCount> kHeads = {"change",
                                                               "model",
                                                               "commit",
                                                               "device",
                                                               "driver",
                                                               "settings",
                                                               "load ms, warm / cold",
                                                               "prompt",
                                                               "prefill tok/s",
                                                               "decode tok/s",
                                                               "sequences",
                                                               "their tok/s",
                                                               "first token ms",
                                                               "token ms, p50 / p99",
                                                               "GPU busy",
                                                               "J a token",
                                                               "GPU MB, peak",
                                                               "host MB, peak",
                                                               "quality hash, nats",
                                                               "to the first row"};
constexpr std::string_view kHeadOfFile = "# Benchmarks\n\nRows are added by `ravenwing bench --title TITLE`.\n";

/// A line of the text, without its end.
struct Line {
  std::string_view text;
  size_t end = 0;  // where the next one begins
};

std::vector<Line> lines_of(std::string_view text) {
  std::vector<Line> lines;
  for (size_t begin = 0; begin < text.size(); begin = lines.back().end) {
    const size_t feed = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, feed - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back({line, std::min(feed + 1, text.size())});
  }
  return lines;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

bool is_control(char c) { return (c >= 0 && c < 0x20) || c == 0x7f; }

/// What stands between two bars of a row.
std::string cell(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '|') result += '\\';
    result += is_control(c) ? ' ' : c;
  }
  return std::string(trimmed(result));
}

std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells;
  std::string current;
  for (size_t i = 1; i < line.size(); ++i) {
    if (line[i] == '|' && line[i - 1] != '\\') {
      cells.emplace_back(trimmed(current));
      current.clear();
      continue;
    }
    if (line[i] == '|') current.pop_back();
    current += line[i];
  }
  return cells;
}

template <typename Cells>
std::string table_line(const Cells& cells) {
  std::string line = "|";
  for (const auto& text : cells) line += fmt::format(" {} |", cell(text));
  return line;
}

std::string separator_line() {
  std::string line = "|";
  for (size_t i = 0; i < kHeads.size(); ++i) line += " --- |";
  return line;
}

/// The lines of a section: from after its heading to before the next heading of its level or a higher one.
struct Section {
  size_t begin = 0, end = 0;
};

std::optional<Section> find_section(const std::vector<Line>& lines, std::string_view title) {
  std::optional<Section> section;
  std::string_view fence;  // of the block of code that is open: what looks like a heading there is none
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = lines[i].text, start = trimmed(line).substr(0, 3);
    if (fence.empty() ? start == "```" || start == "~~~" : start == fence) {
      fence = fence.empty() ? start : "";
    } else if (fence.empty() && (line.starts_with("## ") || line.starts_with("# "))) {
      if (section) return Section{section->begin, i};
      if (line.starts_with("## ") && trimmed(line.substr(3)) == title) section = Section{i + 1, lines.size()};
    }
  }
  return section;
}

/// The table's head; its rows follow two lines later.
size_t find_table(const std::vector<Line>& lines, const Section& section, std::string_view title,
                  const std::string& name) {
  const std::string head = table_line(kHeads);
  for (size_t i = section.begin; i + 1 < section.end; ++i) {
    if (trimmed(lines[i].text) == head && lines[i + 1].text.starts_with("|")) return i;
  }
  fail(ErrorCode::bad_file,
       "'{}' has a section '{}' without the table that bench writes: choose another --title, or another --file", name,
       title);
}

std::optional<double> leading_number(std::string_view text) {
  double value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && value > 0 ? std::optional(value) : std::nullopt;
}

/// How a row compares with an earlier one; only figures that are of the same work.
std::string delta_of(const std::vector<std::string>& row, const std::vector<std::string>& first) {
  struct Figure {
    std::string_view name;
    HistoryColumn column;
    std::optional<HistoryColumn> work{};  // what must be equal in both
  };
  constexpr Figure kFigures[] = {{"load", kLoad},
                                 {"prefill", kPrefill, kPrompt},
                                 {"decode", kDecode},
                                 {"sequences", kBatchDecode, kSequences},
                                 {"energy", kEnergy}};
  std::string text;
  for (const Figure& figure : kFigures) {
    if (figure.work && row[*figure.work] != first[*figure.work]) continue;
    const auto now = leading_number(row[figure.column]), then = leading_number(first[figure.column]);
    if (!now || !then) continue;
    text += fmt::format("{}{} {:+.1f} %", text.empty() ? "" : ", ", figure.name, 100 * (*now / *then - 1));
  }
  const auto hash = [](const std::string& quality) { return quality.substr(0, quality.find(',')); };
  if (hash(row[kQuality]) != hash(first[kQuality])) text += text.empty() ? "other hash" : ", other hash";
  return text.empty() ? "-" : text;
}

std::string with_new_section(std::string_view text, std::string_view title, const HistoryRow& row) {
  const size_t feed = text.find('\n');
  const std::string end = feed != text.npos && feed > 0 && text[feed - 1] == '\r' ? "\r\n" : "\n";
  std::string result(text.empty() ? kHeadOfFile : text);
  if (!result.ends_with('\n')) result += end;
  if (!result.ends_with(end + end)) result += end;
  result += fmt::format("## {}{}{}", title, end, end);
  for (const std::string& line : {table_line(kHeads), separator_line(), table_line(row)}) result += line + end;
  return result;
}

/// The file itself where `path` is a link to it, so that the link stays.
std::filesystem::path target_of(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(path, error);
  return error ? path : target;
}

std::string read_history(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return {};
  if (!std::filesystem::is_regular_file(path, ignored))
    fail(ErrorCode::bad_file, "'{}' is no regular file: --file wants a markdown file, or none yet", path.string());
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad())
    fail(ErrorCode::bad_file, "cannot read '{}': {}", path.string(), std::strerror(errno));
  return text;
}

/// Held by who changes a file of the folder. The file itself cannot be locked, as another one takes its place.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder)
      : descriptor_(open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (descriptor_ < 0)
      fail(ErrorCode::bad_file, "cannot open the folder '{}': {}", folder.string(), std::strerror(errno));
    // A file system without locks does without.
    while (flock(descriptor_, LOCK_EX) != 0 && errno == EINTR) continue;
  }
  ~FolderLock() { close(descriptor_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace

std::string with_row(std::string_view text, std::string_view title, HistoryRow row, const std::string& name) {
  title = trimmed(title);
  row[kDelta] = "-";
  const std::vector<Line> lines = lines_of(text);
  const auto section = find_section(lines, title);
  if (!section) return with_new_section(text, title, row);
  const size_t head = find_table(lines, *section, title, name);
  const std::vector<std::string> own = cells_of(table_line(row));
  size_t last = head + 1;
  bool compared = false;
  while (last + 1 < section->end && lines[last + 1].text.starts_with("|")) {
    const std::vector<std::string> cells = cells_of(lines[++last].text);
    if (compared || cells.size() < kColumnCount) continue;
    compared = cells[kModel] == own[kModel] && cells[kDevice] == own[kDevice];
    if (compared) row[kDelta] = delta_of(own, cells);
  }
  const std::string end = text.substr(0, lines[head].end).ends_with("\r\n") ? "\r\n" : "\n";
  std::string result(text.substr(0, lines[last].end));
  if (!result.ends_with('\n')) result += end;
  return result + table_line(row) + end + std::string(text.substr(lines[last].end));
}

void check_history(const std::filesystem::path& path, std::string_view title) {
  if (trimmed(title).empty() || std::any_of(title.begin(), title.end(), is_control))
    fail(ErrorCode::bad_request, "--title must be a line of text: it becomes a heading");
  const std::filesystem::path target = target_of(path);
  const FolderLock lock(target.parent_path());
  with_row(read_history(target), title, {}, path.string());
  const OutputFile can_be_written(target);
}

void append_to_history(const std::filesystem::path& path, std::string_view title, const HistoryRow& row) {
  const std::filesystem::path target = target_of(path);
  const FolderLock lock(target.parent_path());
  const std::string text = with_row(read_history(target), title, row, path.string());
  OutputFile file(target);
  file.write(text.data(), text.size());
  file.commit();
}

}  // namespace ravenwing::apps
