// Throwing with a formatted message, and the check for programmer errors.
#pragma once

#include <fmt/format.h>

#include <utility>

#include "ravenwing/error.hpp"

namespace ravenwing {

/// Throws Error(code, fmt::format(...)). Text taken from a file goes through `quoted` (base/text.hpp) first.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace ravenwing

/// A programmer error if it fails: prints and aborts, in release too. Never for input.
#define RAVENWING_CHECK(condition) ((condition) ? void(0) : ::ravenwing::check_failed(#condition, __FILE__, __LINE__))
