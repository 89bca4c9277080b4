// One engine for all tests of the public API, and small helpers.
#pragma once

#include <doctest/doctest.h>

#include <atomic>

#include "ravenwing/engine.hpp"

namespace ravenwing::test {

EngineOptions demo_options();

/// One engine in exact mode for all cases: they share its compiled shaders. Null where there is no adapter. Never
/// destroyed: when statics are, NVIDIA's driver is gone already.
Engine* exact_engine();

/// What makes a call of that engine throw Error{cancelled}.
std::atomic<bool>& cancel_flag();

std::vector<uint32_t> prompt(std::string_view text);
GenerateOptions greedy(uint32_t n);

template <typename Call>
ErrorCode code_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    MESSAGE(std::string(error.what()));
    return error.code();
  }
  FAIL("no error was thrown");
  return ErrorCode::bad_file;
}

/// That two sessions stand at the same place, in every bit.
void check_same(const SessionSnapshot& a, const SessionSnapshot& b);

}  // namespace ravenwing::test
