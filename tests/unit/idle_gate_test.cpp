// tests/unit/idle_gate_test.cpp: when work that may wait goes on.
#include "base/idle_gate.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <thread>

using namespace ravenwing;
using namespace std::chrono_literals;

TEST_CASE("a gate opens once all has been quiet for long enough") {
  const auto begin = std::chrono::steady_clock::now();
  IdleGate gate(20ms);
  CHECK_FALSE(gate.is_open());
  CHECK(gate.wait());
  CHECK(std::chrono::steady_clock::now() - begin >= 20ms);
  CHECK(gate.is_open());
}

TEST_CASE("a gate is shut at once when something begins, and stays so until the last has ended") {
  IdleGate gate(1ms);
  REQUIRE(gate.wait());
  std::optional<IdleGate::Busy> first(gate), second(gate);
  CHECK_FALSE(gate.is_open());
  bool opened = false;
  std::thread worker([&] { opened = gate.wait(); });
  first.reset();
  CHECK_FALSE(gate.is_open());
  second.reset();
  worker.join();
  CHECK(opened);
}

TEST_CASE("a gate that is closed lets nothing pass and nobody wait") {
  IdleGate gate(1h);
  bool opened = true;
  std::thread worker([&] { opened = gate.wait(); });
  gate.close();
  worker.join();
  CHECK_FALSE(opened);
  CHECK_FALSE(gate.is_open());
  CHECK_FALSE(gate.wait());
}
