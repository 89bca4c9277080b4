// A generation that runs in a thread of its own: a stream of text, or several texts at once.
#pragma once

#include <deque>
#include <exception>
#include <optional>
#include <thread>

#include "core.hpp"

namespace ravenwing::python {

/// What to continue: a session's own text, or new texts in sessions that are given back at the end.
struct JobInput {
  std::shared_ptr<SessionBox> session;            // with one text alone
  std::shared_ptr<const SessionSnapshot> prefix;  // of new sessions; none: the empty text
  std::vector<std::vector<uint32_t>> texts;
  std::vector<GenerateOptions> options;  // one for each of the texts
};

class Job {
 public:
  /// `streaming`: the text of the first is kept for next().
  Job(std::shared_ptr<Core> core, JobInput input, bool streaming);
  /// Cancels what still runs.
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// All but wait() and cancel() are Python's: they wait without the GIL and look for signals.
  std::optional<std::string> next();
  std::vector<Completion> result();
  void cancel();
  /// False if it still runs after that long.
  bool wait(std::chrono::milliseconds time, bool for_text);

 private:
  struct Shared;  // with the worker
  std::shared_ptr<Shared> shared_;
  std::thread worker_;
};

}  // namespace ravenwing::python
