// Standard input, output and error, and Ctrl-C.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace ravenwing::apps {

/// Thrown where the reader of standard output has gone (`| head`): it has what it wanted.
struct OutputClosed {};

/// Makes a closed descriptor 0, 1 or 2 fail instead of naming the next file that is opened, a closed pipe an error code
/// instead of a signal, and lets SIGINT and SIGTERM set interrupted(). A second signal ends the program at once.
void prepare_terminal();
const std::atomic<bool>& interrupted();
/// Throws Error{cancelled} once interrupted.
void check_interrupted();
/// A first signal that was dealt with.
void clear_interrupt();

bool stdin_is_terminal();
bool stdout_is_terminal();

/// Writes bytes to standard output at once. Throws OutputClosed, Error{bad_file}.
void write_out(std::string_view bytes);

/// A line on standard error: "ravenwing: ...". Control characters are escaped; failures are ignored.
void write_message_text(const std::string& message);
template <typename... Args>
void write_message(fmt::format_string<Args...> format, Args&&... args) {
  write_message_text(fmt::format(format, std::forward<Args>(args)...));
}

/// The text with control characters as \xHH, so that a file name or a model's metadata cannot steer a terminal.
std::string printable(std::string_view text);

/// All bytes of a file, of standard input for "-". Throws Error{bad_file, cancelled}.
std::string read_bytes(const std::string& path);

/// A bar on standard error: only on a terminal, only when the work takes more than 0.3 s, gone when it is done.
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void update(uint64_t done, uint64_t total);
  void finish();

 private:
  std::string what_;
  bool enabled_ = false, shown_ = false;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace ravenwing::apps
