// The copies of a slot that a generation can be taken back to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "model/runner.hpp"

namespace ravenwing {

/// Steps run ahead of the CPU, which may find later that some of the ids they drew do not stay. A copy is therefore
/// taken when a step is submitted, and the one before it is given up only once all ids that the newer one holds are
/// sure to stay: two copies.
class Checkpoints {
 public:
  /// What the steps submitted so far do for a request.
  struct Mark {
    size_t n_fed = 0;    // tokens: of the prompt, then ids
    size_t n_drawn = 0;  // ids
  };

  Checkpoints(Runner& runner, uint32_t slot) : runner_(runner), slot_(slot) {}

  /// To be called before each step that draws is submitted: takes a copy of what is there then, now and then, the first
  /// time always. The first `n_certain` ids are sure to stay.
  void before_draw(const Mark& mark, size_t n_certain);
  /// The GPU's copies are gone.
  void forget() { n_copies_ = 0; }
  bool empty() const { return n_copies_ == 0; }
  /// Puts the newest copy back that holds none but the first `n_ids` ids.
  Mark roll_back(size_t n_ids);

 private:
  void take(uint32_t place, const Mark& mark);

  Runner& runner_;
  uint32_t slot_;
  std::array<Mark, 2> marks_;  // by place
  uint32_t newest_ = 0, n_copies_ = 0;
};

}  // namespace ravenwing
