#include "terminal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "command.hpp"

namespace ravenwing::apps {
namespace {

// A text is read whole; more than this is a mistake such as -f /dev/zero.
constexpr size_t kTextBytesMax = size_t{1} << 28;

// A signal handler can reach nothing but what lies at file scope.
std::atomic<bool> g_interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void on_signal(int) {
  if (g_interrupted.exchange(true)) _exit(130);
}

class File {
 public:
  explicit File(const std::string& path) : standard_(path == "-") {
    do {
      fd_ = standard_ ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
      check_interrupted();
    } while (fd_ < 0 && errno == EINTR);
    name_ = standard_ ? "standard input" : "'" + path + "'";
    if (fd_ < 0) fail_io();
  }
  ~File() {
    if (!standard_ && fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  /// 0 at the end.
  size_t read(std::array<char, 65536>& bytes) {
    while (true) {
      // Not in read() itself: a signal that comes just before it would leave it waiting.
      pollfd ready = {.fd = fd_, .events = POLLIN, .revents = 0};
      const int n_ready = poll(&ready, 1, 100);
      check_interrupted();
      if (n_ready == 0) continue;
      const ssize_t n = ::read(fd_, bytes.data(), bytes.size());
      if (n >= 0) return size_t(n);
      if (errno != EINTR) fail_io();
    }
  }
  const std::string& name() const { return name_; }

 private:
  [[noreturn]] void fail_io() const { fail(ErrorCode::bad_file, "cannot read {}: {}", name_, std::strerror(errno)); }

  bool standard_;
  int fd_ = -1;
  std::string name_;
};

}  // namespace

void prepare_terminal() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // Opened the wrong way round: reading from it and writing to it fail.
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
  std::signal(SIGPIPE, SIG_IGN);
  struct sigaction action = {};
  action.sa_handler = on_signal;  // without SA_RESTART: a blocking read ends
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

const std::atomic<bool>& interrupted() { return g_interrupted; }

void check_interrupted() {
  if (g_interrupted) throw Error(ErrorCode::cancelled, "interrupted");
}

void clear_interrupt() { g_interrupted = false; }

bool stdin_is_terminal() { return isatty(STDIN_FILENO) == 1; }
bool stdout_is_terminal() { return isatty(STDOUT_FILENO) == 1; }

void write_out(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(size_t(n));
    } else if (errno == EPIPE) {
      throw OutputClosed{};
    } else if (errno == EINTR) {
      check_interrupted();
    } else {
      fail(ErrorCode::bad_file, "cannot write to standard output: {}", std::strerror(errno));
    }
  }
}

void write_message_text(const std::string& message) {
  std::fputs(("ravenwing: " + printable(message) + "\n").c_str(), stderr);
}

std::string printable(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto previous = i == 0 ? 0 : static_cast<unsigned char>(text[i - 1]);
    // U+0080 to U+009F steer terminals as well.
    const bool late_control = previous == 0xC2 && byte >= 0x80 && byte < 0xA0;
    if (byte < 0x20 || byte == 0x7F || late_control) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += text[i];
    }
  }
  return result;
}

std::string read_bytes(const std::string& path) {
  File file(path);
  std::string bytes;
  std::array<char, 65536> piece;
  while (const size_t n = file.read(piece)) {
    bytes.append(piece.data(), n);
    if (bytes.size() > kTextBytesMax) {
      fail(ErrorCode::bad_file, "{} is larger than {} MiB", file.name(), kTextBytesMax >> 20);
    }
  }
  return bytes;
}

Progress::Progress(std::string what)
    : what_(std::move(what)),
      enabled_(isatty(STDERR_FILENO) == 1),
      next_(std::chrono::steady_clock::now() + std::chrono::milliseconds(300)) {}

void Progress::update(uint64_t done, uint64_t total) {
  const auto now = std::chrono::steady_clock::now();
  if (!enabled_ || total == 0 || now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  shown_ = true;
  constexpr size_t kWidth = 30;
  const double part = std::min(1.0, double(done) / double(total));
  const std::string bar(size_t(part * kWidth), '#');
  std::fputs(fmt::format("\r{} [{:.<{}}] {:3.0f} %", what_, bar, kWidth, part * 100).c_str(), stderr);
  std::fflush(stderr);
}

void Progress::finish() {
  if (!shown_) return;
  shown_ = false;
  std::fputs(fmt::format("\r{:{}}\r", "", what_.size() + 40).c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace ravenwing::apps
