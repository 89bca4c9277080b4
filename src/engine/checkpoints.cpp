// src/engine/checkpoints.cpp
#include "engine/checkpoints.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace ravenwing {
namespace {
/// From one copy to the next. A copy moves a whole state, the ids after it have to be fed again: both cost about a
/// step.
constexpr size_t kIdsBetween = 16;
}  // namespace

void Checkpoints::before_draw(const Mark& mark, size_t n_certain) {
  if (n_copies_ == 0) return take(0, mark);
  const Mark& newest = marks_[newest_];
  const bool place_is_free = n_copies_ == 1 || newest.n_drawn <= n_certain;
  if (place_is_free && mark.n_drawn >= newest.n_drawn + kIdsBetween) take(1 - newest_, mark);
}

Checkpoints::Mark Checkpoints::roll_back(size_t n_ids) {
  const uint32_t place = marks_[newest_].n_drawn <= n_ids ? newest_ : 1 - newest_;
  RAVENWING_CHECK(place < n_copies_ && marks_[place].n_drawn <= n_ids);
  runner_.roll_back(slot_, place);
  return marks_[place];
}

void Checkpoints::take(uint32_t place, const Mark& mark) {
  runner_.checkpoint(slot_, place);
  marks_[place] = mark;
  newest_ = place;
  n_copies_ = std::max(n_copies_, place + 1);
}

}  // namespace ravenwing
