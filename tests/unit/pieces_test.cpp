// tests/unit/pieces_test.cpp: every value is in one piece.
#include "base/pieces.hpp"

#include <doctest/doctest.h>

#include <mutex>
#include <set>
#include <vector>

using namespace ravenwing;

TEST_CASE("pieces cover all values once, however many there are") {
  for (const size_t n : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{31}, size_t{1000}, size_t{4099}}) {
    std::vector<int> visits(n);
    std::mutex mutex;
    std::set<size_t> begins;
    in_pieces(n, 8, [&](size_t begin, size_t end) {
      const std::lock_guard lock(mutex);
      begins.insert(begin);
      for (size_t i = begin; i < end; ++i) ++visits[i];
    });
    CHECK(visits == std::vector<int>(n, 1));
    CHECK(begins.contains(0));
    const size_t n_cores = std::max(std::thread::hardware_concurrency(), 1u);
    CHECK(begins.size() == std::clamp<size_t>(n / 8, 1, std::min<size_t>(4, n_cores)));
  }
}
