// src/base/error.cpp: the end of a failed RAVENWING_CHECK.
#include "base/error.hpp"

#include <cstdio>
#include <cstdlib>

namespace ravenwing {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "ravenwing: internal check failed: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace ravenwing
