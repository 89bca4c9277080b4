// src/base/idle_gate.cpp
#include "base/idle_gate.hpp"

namespace ravenwing {

bool IdleGate::wait() {
  std::unique_lock lock(mutex_);
  while (!closed_) {
    const Clock::time_point opens = quiet_since_ + quiet_;
    if (n_busy_ > 0)
      changed_.wait(lock);
    else if (Clock::now() < opens)
      changed_.wait_until(lock, opens);
    else
      return true;
  }
  return false;
}

bool IdleGate::is_open() {
  const std::lock_guard lock(mutex_);
  return !closed_ && n_busy_ == 0 && Clock::now() >= quiet_since_ + quiet_;
}

void IdleGate::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

void IdleGate::enter() {
  const std::lock_guard lock(mutex_);
  ++n_busy_;
}

void IdleGate::leave() {
  const std::lock_guard lock(mutex_);
  --n_busy_;
  quiet_since_ = Clock::now();
  changed_.notify_all();
}

}  // namespace ravenwing
