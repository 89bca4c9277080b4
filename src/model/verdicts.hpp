// What self-tests found, kept in a small file from one start to the next.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace ravenwing {

/// The verdict on a subject: a tier, in one of the ways it can be run.
struct Verdict {
  enum class State { testing, good, bad };
  State state = State::good;
  std::string reason;  // of a bad one: "gave wrong numbers (...)"
  bool operator==(const Verdict&) const = default;
};

/// The verdicts on what one device does, for one model's kind. The file is believed only if all of it is well-formed
/// and its key is the one given here; else it counts as empty and is written anew. What the file system refuses is as
/// if nothing were kept.
class Verdicts {
 public:
  /// `key`, on one line: all that the verdicts hold for. `path` "": nothing is kept.
  Verdicts(std::filesystem::path path, std::string key);

  /// A subject is a word without blanks.
  std::optional<Verdict> find(std::string_view subject) const;
  /// Other processes and later ones see it.
  void set(std::string_view subject, const Verdict& verdict);
  /// All whose subject begins so.
  void forget(std::string_view beginning);

  /// Held during a test. Waits for other processes and then sees what they wrote: a subject that still stands as
  /// `testing` ended the process that tested it.
  class Lock {
   public:
    explicit Lock(Verdicts& verdicts);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    int descriptor_ = -1;
  };

 private:
  void read();
  void write() const;

  std::filesystem::path path_;
  std::string key_;
  std::map<std::string, Verdict, std::less<>> verdicts_;
};

}  // namespace ravenwing
