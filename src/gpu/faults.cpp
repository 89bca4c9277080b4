// src/gpu/faults.cpp
#include "gpu/faults.hpp"

#include <cstdlib>
#include <string_view>

namespace ravenwing::gpu {
namespace {

constexpr std::string_view kClocks[] = {"sound", "backwards", "zero", "hours"};
constexpr uint64_t kHoursNs = uint64_t(5 * 3600) * 1'000'000'000;

}  // namespace

Faults Faults::from_environment() {
  Faults faults;
  const char* value = std::getenv("RAVENWING_TEST_CLOCK");
  for (std::string_view rest = value != nullptr ? value : ""; !rest.empty();) {
    const std::string_view word = rest.substr(0, rest.find(','));
    rest.remove_prefix(word.size() + (word.size() < rest.size() ? 1 : 0));
    for (size_t i = 0; i < std::size(kClocks); ++i) {
      if (word == kClocks[i]) faults.clock.push_back(Clock(i));
    }
  }
  return faults;
}

void Faults::distort(uint64_t& begin_ns, uint64_t& end_ns) {
  if (clock.empty()) return;
  switch (clock[n_pairs_++ % clock.size()]) {
    case Clock::sound:
      return;
    case Clock::backwards:
      end_ns = begin_ns - 1;
      return;
    case Clock::zero:
      begin_ns = end_ns = 0;
      return;
    case Clock::hours:
      end_ns = begin_ns + kHoursNs;
      return;
  }
}

}  // namespace ravenwing::gpu
