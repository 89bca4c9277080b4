// Work on an engine for a Python thread: without the GIL, and Ctrl-C ends it.
#pragma once

#include <nanobind/nanobind.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <optional>
#include <thread>

#include "core.hpp"

namespace ravenwing::python {

/// Python runs its signal handlers in the main thread alone.
inline bool is_main_thread() { return gettid() == getpid(); }

/// Waits without the GIL until `ready(interval)`, which waits for so long at most, says true. On a signal whose handler
/// throws it calls `cancel` once, waits on, and throws what the handler did.
template <typename Ready, typename Cancel>
void wait_for(Ready&& ready, Cancel&& cancel) {
  constexpr std::chrono::milliseconds kInterval(50);
  std::optional<nanobind::python_error> interrupted;
  for (bool done = false; !done;) {
    {
      const nanobind::gil_scoped_release release;
      done = ready(kInterval);
    }
    if (!done && !interrupted && PyErr_CheckSignals() != 0) {
      interrupted.emplace();
      cancel();
    }
  }
  if (interrupted) throw nanobind::python_error(std::move(*interrupted));
}

/// warnings.warn() of what the engine went through.
void show_warnings(Core& core);

/// work(Engine&) when the engine is free; returns what it does. The work must not touch Python.
template <typename Work>
auto run(Core& core, Takes takes, Work&& work) {
  using Result = std::invoke_result_t<Work, Engine&>;
  core.check_process();
  Call call;
  std::packaged_task<Result()> task([&] { return core.use(call, work); });
  std::future<Result> result = task.get_future();
  if (is_main_thread() && !core.begin_at_once(call, takes)) {
    // The work has a thread of its own, so that this one can look for signals. What is done at once saves its start,
    // some 0.1 ms, and the fresh pages of a thread's memory.
    std::thread worker(std::move(task));
    const auto join = [&worker](std::thread*) { worker.join(); };
    const std::unique_ptr<std::thread, decltype(join)> joined(&worker, join);
    wait_for([&](auto interval) { return result.wait_for(interval) == std::future_status::ready; },
             [&] { core.cancel(call); });
  } else {
    const nanobind::gil_scoped_release release;
    task();
  }
  show_warnings(core);
  return result.get();
}

}  // namespace ravenwing::python
