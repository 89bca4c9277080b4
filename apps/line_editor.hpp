// Reading what a user types, with editing and a history on a terminal.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace ravenwing::apps {

/// Where standard input is no terminal it reads plain lines.
class LineEditor {
 public:
  /// The history is read from the file and kept there; an empty path keeps none.
  explicit LineEditor(std::filesystem::path history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  /// A line without its end; nothing at the end of the input. Throws Error{cancelled} for Ctrl-C.
  std::optional<std::string> read(const std::string& prompt);
  /// Adds to the history, of which the last 1000 are kept.
  void remember(const std::string& text);

 private:
  struct Terminal;
  std::filesystem::path path_;
  std::unique_ptr<Terminal> terminal_;  // null where there is none
};

}  // namespace ravenwing::apps
