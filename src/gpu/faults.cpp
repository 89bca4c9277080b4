// src/gpu/faults.cpp
#include "gpu/faults.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

namespace ravenwing::gpu {
namespace {

constexpr std::string_view kClocks[] = {"sound", "backwards", "zero", "hours"};
constexpr uint64_t kHoursNs = uint64_t(5 * 3600) * 1'000'000'000;

/// What stands between commas.
std::vector<std::string_view> words_of(const char* name) {
  const char* value = std::getenv(name);
  std::vector<std::string_view> words;
  for (std::string_view rest = value != nullptr ? value : ""; !rest.empty();) {
    words.push_back(rest.substr(0, rest.find(',')));
    rest.remove_prefix(std::min(words.back().size() + 1, rest.size()));
  }
  return words;
}

}  // namespace

Faults Faults::from_environment() {
  Faults faults;
  for (const std::string_view word : words_of("RAVENWING_TEST_CLOCK")) {
    const auto known = std::find(std::begin(kClocks), std::end(kClocks), word);
    if (known != std::end(kClocks)) faults.clock.push_back(Clock(known - kClocks));
  }
  uint32_t* const numbers[] = {&faults.watchdog_tokens, &faults.n_spared};
  const std::vector<std::string_view> words = words_of("RAVENWING_TEST_WATCHDOG");
  for (size_t i = 0; i < std::min(words.size(), std::size(numbers)); ++i)
    std::from_chars(words[i].data(), words[i].data() + words[i].size(), *numbers[i]);
  for (const std::string_view word : words_of("RAVENWING_TEST_TOKEN_WORKGROUPS"))
    std::from_chars(word.data(), word.data() + word.size(), faults.token_workgroups);
  for (const std::string_view word : words_of("RAVENWING_TEST_MEMORY"))
    std::from_chars(word.data(), word.data() + word.size(), faults.memory_bytes);
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
