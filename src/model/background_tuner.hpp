// Tunes a GPU while it has nothing else to do.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "base/idle_gate.hpp"
#include "model/tuning_stage.hpp"

namespace ravenwing {

/// Measures jobs that the device's file does not have yet, on a thread and a device of its own: a request never waits
/// for it, and it never waits for a request's memory. When one comes it stops before its next piece of work, some
/// milliseconds of the GPU, gives its memory back, and begins that job anew in the next pause.
class BackgroundTuner {
 public:
  struct Options {
    std::string selector;       // of the adapter, as the engine's
    gpu::DeviceOptions device;  // as the engine's device was opened
    std::chrono::milliseconds quiet{};
  };

  /// Takes no time: the thread is made by the first end_of_answer().
  BackgroundTuner(Options options, std::vector<TuningJob> jobs);
  ~BackgroundTuner();

  /// Held by whoever uses the GPU.
  IdleGate& gate() { return gate_; }
  void end_of_answer();

  size_t n_measured() const { return n_measured_; }
  bool measuring() const { return measuring_; }

 private:
  void run();
  /// Until all is measured; throws Stopped before.
  void measure();

  const Options options_;
  std::vector<TuningJob> jobs_;  // left, the next one last
  IdleGate gate_;
  std::atomic<size_t> n_measured_ = 0;
  std::atomic<bool> measuring_ = false;
  std::thread thread_;
};

}  // namespace ravenwing
