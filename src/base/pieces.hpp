// Work on many values by several threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <system_error>
#include <thread>
#include <vector>

namespace ravenwing {

/// Calls visit(begin, end) for pieces of 0 to n, each in a thread of its own but the first, as long as they have
/// `least` values: one core moves some ten bytes a nanosecond, and to start a thread takes some ten microseconds.
template <typename Visit>
void in_pieces(size_t n, size_t least, Visit&& visit) {
  constexpr size_t kPiecesMax = 4;
  const size_t n_cores = std::max(std::thread::hardware_concurrency(), 1u);
  const size_t n_pieces = std::clamp<size_t>(n / least, 1, std::min(kPiecesMax, n_cores));
  const auto at = [&](size_t piece) { return n * piece / n_pieces; };
  std::vector<std::jthread> threads;
  threads.reserve(n_pieces);
  size_t n_begun = 1;
  try {
    for (; n_begun < n_pieces; ++n_begun)
      threads.emplace_back([&visit, begin = at(n_begun), end = at(n_begun + 1)] { visit(begin, end); });
  } catch (const std::system_error&) {  // there may be no more threads
    visit(at(n_begun), n);
  }
  visit(0, at(1));
}

}  // namespace ravenwing
