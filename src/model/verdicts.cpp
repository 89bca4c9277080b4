// src/model/verdicts.cpp: a text file of lines, the last of which is "end".
#include "model/verdicts.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <span>

#include "base/atomic_file.hpp"
#include "base/error.hpp"

namespace ravenwing {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTitle = "ravenwing self-test 1";
constexpr std::string_view kStates[] = {"testing", "good", "bad"};

/// "T1-fast-checked bad gave wrong numbers"; nothing for a line of another form.
std::optional<std::pair<std::string, Verdict>> parse_line(std::string_view line) {
  const size_t subject_end = line.find(' ');
  if (subject_end == 0 || subject_end == line.npos) return std::nullopt;
  const std::string_view rest = line.substr(subject_end + 1);
  const size_t state_end = std::min(rest.find(' '), rest.size());
  const auto state = std::find(std::begin(kStates), std::end(kStates), rest.substr(0, state_end));
  if (state == std::end(kStates)) return std::nullopt;
  const Verdict verdict{Verdict::State(state - std::begin(kStates)),
                        std::string(rest.substr(std::min(state_end + 1, rest.size())))};
  if ((verdict.state == Verdict::State::bad) == verdict.reason.empty()) return std::nullopt;
  return std::pair(std::string(line.substr(0, subject_end)), verdict);
}

/// Control characters would make lines of their own.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

}  // namespace

Verdicts::Verdicts(fs::path path, std::string key) : path_(std::move(path)), key_(one_line(std::move(key))) {
  if (path_.empty()) return;
  std::error_code ignored;
  fs::create_directories(path_.parent_path(), ignored);
  read();
}

void Verdicts::read() {
  verdicts_.clear();
  std::ifstream file(path_);
  std::string line;
  if (!std::getline(file, line) || line != kTitle || !std::getline(file, line) || line != key_) return;
  std::map<std::string, Verdict, std::less<>> found;
  while (std::getline(file, line) && line != "end") {
    auto entry = parse_line(line);
    if (!entry || !found.insert(std::move(*entry)).second) return;
  }
  if (line == "end" && !std::getline(file, line)) verdicts_ = std::move(found);
}

void Verdicts::write() const {
  if (path_.empty()) return;
  std::string text = fmt::format("{}\n{}\n", kTitle, key_);
  for (const auto& [subject, verdict] : verdicts_) {
    text += fmt::format("{} {}{}{}\n", subject, kStates[size_t(verdict.state)], verdict.reason.empty() ? "" : " ",
                        verdict.reason);
  }
  text += "end\n";
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(text))};
  try {
    // A driver may take the system down with it, and the mark has to outlive that.
    write_file_atomically(path_, parts, Flush::yes);
  } catch (const Error&) {
    return;  // the next start tests again
  }
}

std::optional<Verdict> Verdicts::find(std::string_view subject) const {
  const auto found = verdicts_.find(subject);
  return found == verdicts_.end() ? std::nullopt : std::optional(found->second);
}

void Verdicts::set(std::string_view subject, const Verdict& verdict) {
  verdicts_.insert_or_assign(std::string(subject), Verdict{verdict.state, one_line(verdict.reason)});
  write();
}

void Verdicts::forget(std::string_view beginning) {
  if (std::erase_if(verdicts_, [&](const auto& entry) { return entry.first.starts_with(beginning); }) > 0) write();
}

Verdicts::Lock::Lock(Verdicts& verdicts) {
  if (verdicts.path_.empty()) return;
  descriptor_ = open((verdicts.path_.native() + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  while (descriptor_ >= 0 && flock(descriptor_, LOCK_EX) != 0 && errno == EINTR) continue;
  verdicts.read();
}

Verdicts::Lock::~Lock() {
  if (descriptor_ >= 0) close(descriptor_);
}

}  // namespace ravenwing
