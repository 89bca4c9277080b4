// src/model/tuning_file.cpp: a text file of lines, the last of which is "end".
#include "model/tuning_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <fstream>
#include <span>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

namespace ravenwing {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTitle = "ravenwing tuning 1";
constexpr size_t kBytesMax = 2 << 20;

/// Takes what comes before the separator from the beginning of a text.
std::string_view take(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return taken;
}

bool take_us(std::string_view& line, double& us) {
  const std::string_view word = take(line, ' ');
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), us);
  return error == std::errc() && end == word.data() + word.size() && std::isfinite(us) && us >= 0;
}

/// "mat:F16:64x64:1 tile:4/2/1/2/4/64 20.5 18.25"; nothing for a line of another form.
std::optional<std::pair<std::string, TuningEntry>> parse_line(std::string_view line) {
  std::pair<std::string, TuningEntry> result;
  result.first = take(line, ' ');
  result.second.choice = take(line, ' ');
  if (result.first.empty() || result.second.choice.empty()) return std::nullopt;
  if (!take_us(line, result.second.default_us) || !take_us(line, result.second.us) || !line.empty())
    return std::nullopt;
  return result;
}

/// Control characters would make lines of their own.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kBytesMax + 1, '\0');
  file.read(text.data(), std::streamsize(text.size()));
  text.resize(size_t(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

}  // namespace

TuningFile::TuningFile(fs::path path, std::string key) : path_(std::move(path)), key_(one_line(std::move(key))) {
  if (path_.empty()) return;
  std::error_code ignored;
  fs::create_directories(path_.parent_path(), ignored);
  read();
}

void TuningFile::read() {
  entries_.clear();
  const std::string text = read_text(path_);
  if (text.empty() || parse(text)) return;
  entries_.clear();
  warning_ = fmt::format("{} is damaged and was ignored: `ravenwing tune` writes it anew", quoted(path_.native(), 400));
}

bool TuningFile::parse(std::string_view text) {
  if (text.size() > kBytesMax || take(text, '\n') != kTitle) return false;
  if (take(text, '\n') != key_) return true;  // of another driver or build
  while (!text.empty()) {
    const std::string_view line = take(text, '\n');
    if (line == "end") return text.empty();
    auto entry = parse_line(line);
    if (!entry || entries_.size() >= kEntriesMax || !entries_.insert(std::move(*entry)).second) return false;
  }
  return false;
}

void TuningFile::write() const {
  std::string text = fmt::format("{}\n{}\n", kTitle, key_);
  for (const auto& [subject, entry] : entries_)
    text += fmt::format("{} {} {:.3f} {:.3f}\n", subject, entry.choice, entry.default_us, entry.us);
  text += "end\n";
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(text))};
  try {
    write_file_atomically(path_, parts, Flush::no);
  } catch (const Error&) {
    return;  // the next start has the built-in choices
  }
}

const TuningEntry* TuningFile::find(std::string_view subject) const {
  const auto found = entries_.find(subject);
  return found == entries_.end() ? nullptr : &found->second;
}

void TuningFile::change(const std::function<void()>& edit) {
  if (path_.empty()) return edit();
  const int lock = open((path_.native() + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  while (lock >= 0 && flock(lock, LOCK_EX) != 0 && errno == EINTR) continue;
  // What others wrote meanwhile stays; where there is no file, what this process knows.
  Entries known = entries_;
  read();
  entries_.merge(known);
  edit();
  write();
  if (lock >= 0) close(lock);
}

void TuningFile::set(std::string_view subject, const TuningEntry& entry) {
  change([&] {
    if (entries_.size() < kEntriesMax || entries_.contains(subject))
      entries_.insert_or_assign(std::string(subject), entry);
  });
}

void TuningFile::forget(const std::function<bool(std::string_view)>& is_stale) {
  change([&] { std::erase_if(entries_, [&](const auto& entry) { return is_stale(entry.first); }); });
}

}  // namespace ravenwing
