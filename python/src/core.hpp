// An engine that several Python threads, streams and sessions share.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ravenwing/engine.hpp"

namespace ravenwing::python {

/// What was closed, or belongs to the process that this one was forked from: ravenwing.ClosedError.
class Unusable : public Error {
 public:
  explicit Unusable(const std::string& message) : Error(ErrorCode::bad_request, message) {}
};

/// One call of a program, which can be cancelled while it waits for the engine or uses it.
struct Call {
  std::atomic<bool> cancelled = false;
  bool has_turn = false;
};

/// How long a call may take at most, other calls apart.
enum class Takes {
  a_moment,  // no work for the GPU that is waited for
  a_step,    // of a GPU, some ten milliseconds; of software Vulkan, seconds
  any_time
};

/// For work on so many tokens: 256 are half a second where a GPU is slow.
constexpr Takes takes(size_t n_tokens) { return n_tokens <= 256 ? Takes::a_step : Takes::any_time; }

class Core;

/// A session that ends with its Python object or with its model, whichever is first.
/// Python and C++ count its users together, so that a thread that knows no Python may be the last.
struct SessionBox : std::enable_shared_from_this<SessionBox> {
  explicit SessionBox(std::shared_ptr<Core> owner) : core(std::move(owner)) {}
  ~SessionBox();
  SessionBox(const SessionBox&) = delete;
  SessionBox& operator=(const SessionBox&) = delete;

  std::shared_ptr<Core> core;
  std::unique_ptr<Session> session;  // guarded by the core
};

/// An engine is for one thread at a time: calls take turns. None of this touches Python.
class Core {
 public:
  /// Opens nothing yet: the first use() does.
  static std::shared_ptr<Core> make(const EngineOptions& options);
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  /// Runs work(Engine&) when no other call does. Throws Unusable, Error{cancelled}, and what `work` throws.
  template <typename Work>
  auto use(Call& call, Work&& work) {
    if (!call.has_turn) begin_turn(call);
    const Turn turn{*this};
    if (!engine_) engine_.emplace(options_);
    return work(*engine_);
  }
  /// Gives a call its turn, for use(), where nothing is to be waited for: not where another call has it, the engine is
  /// not open yet, or its device would take longer than a moment.
  bool begin_at_once(Call& call, Takes takes);
  void cancel(Call& call);
  /// Cancels all calls and gives the GPU's memory back. What is used afterwards throws Unusable.
  void close();
  bool closed();
  /// Whether this process was forked from the one that made this.
  bool is_forked() const;
  /// Throws Unusable in a process that was forked from the one that made this.
  void check_process() const;

  /// For work(): puts a session into a box that close() knows.
  void adopt(SessionBox& box, Session session);
  /// For work(): throws Unusable for a session that was closed. One that is closed meanwhile lives until work() ends.
  Session& session_of(SessionBox& box);
  /// For work(): how many sessions there may be besides those in boxes.
  size_t n_free_sessions();
  /// Ends the box's session, now or after the call that uses the engine.
  void retire(SessionBox& box);

  /// What the engine told of recoveries since the last look.
  std::vector<std::string> take_warnings();

 private:
  explicit Core(const EngineOptions& options);
  ~Core() = default;

  struct Turn {
    Core& core;
    ~Turn() { core.end_turn(); }
  };
  void begin_turn(Call& call);
  void give_turn(Call& call);
  void end_turn();

  const pid_t process_;
  std::mutex mutex_;  // of all below but the engine, which belongs to the call whose turn it is
  std::condition_variable changed_;
  bool closed_ = false;
  Call* current_ = nullptr;
  std::set<SessionBox*> boxes_;  // that hold a session
  std::vector<std::unique_ptr<Session>> retired_;
  std::vector<std::string> warnings_;
  std::atomic<bool> cancel_ = false;  // what the engine looks at
  EngineOptions options_;
  std::optional<Engine> engine_;
};

/// At the end of the interpreter, when objects may be left that nobody destroys.
void close_all();

}  // namespace ravenwing::python
