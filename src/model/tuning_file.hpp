// What tuning measured, kept in a small file from one start to the next.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace ravenwing {

/// What is best for a subject, and by how much.
struct TuningEntry {
  static constexpr std::string_view kDefault = "default";
  std::string choice{kDefault};  // kDefault: the built-in one
  double default_us = 0, us = 0;
  bool operator==(const TuningEntry&) const = default;
};

/// The entries of one device with its driver. The file is believed only if all of it is well-formed and its key is the
/// one given here; else it counts as empty and is written anew. Several processes may add entries at a time. What the
/// file system refuses is as if nothing were kept.
class TuningFile {
 public:
  using Entries = std::map<std::string, TuningEntry, std::less<>>;
  static constexpr size_t kEntriesMax = 8192;

  /// `key`, on one line: all that the entries hold for. `path` "": nothing is kept.
  TuningFile(std::filesystem::path path, std::string key);

  /// Subjects and choices are words without blanks.
  const Entries& entries() const { return entries_; }
  const TuningEntry* find(std::string_view subject) const;
  /// Adds to what is in the file by now; past kEntriesMax nothing is kept.
  void set(std::string_view subject, const TuningEntry& entry);
  /// Forgets the subjects that `is_stale` names, in the file too.
  void forget(const std::function<bool(std::string_view subject)>& is_stale);

  const std::filesystem::path& path() const { return path_; }
  /// Why the file was not believed; "": it was, is of another driver or build, or not there.
  const std::string& warning() const { return warning_; }

 private:
  void change(const std::function<void()>& edit);
  void read();
  bool parse(std::string_view text);
  void write() const;

  std::filesystem::path path_;
  std::string key_, warning_;
  Entries entries_;
};

}  // namespace ravenwing
