// Lets work go on only while nothing else is going on.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace ravenwing {

/// For a thread whose work may wait. Any thread may hold a Busy or close the gate.
class IdleGate {
 public:
  /// `quiet`: for how long nothing must have been busy before the gate opens.
  explicit IdleGate(std::chrono::milliseconds quiet) : quiet_(quiet) {}

  /// While one lives the gate is shut.
  class Busy {
   public:
    explicit Busy(IdleGate& gate) : gate_(gate) { gate_.enter(); }
    ~Busy() { gate_.leave(); }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    IdleGate& gate_;
  };

  /// Waits until the gate is open; false once it is closed for good.
  bool wait();
  /// Whether work that wait() let through may go on.
  bool is_open();
  /// For good.
  void close();

 private:
  using Clock = std::chrono::steady_clock;
  void enter();
  void leave();

  const std::chrono::milliseconds quiet_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int n_busy_ = 0;
  bool closed_ = false;
  Clock::time_point quiet_since_ = Clock::now();
};

}  // namespace ravenwing
