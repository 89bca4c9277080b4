// A text's state on the host, as Python sees it.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <array>
#include <memory>
#include <vector>

#include "ravenwing/engine.hpp"

namespace ravenwing::python {

/// Arrays that a State is made of: float32, C order, writable, on the CPU.
using FloatArray = nanobind::ndarray<float, nanobind::c_contig, nanobind::device::cpu>;

/// A snapshot whose arrays NumPy looks at where they lie. Those of from_numpy(copy=False) stay the caller's.
class State {
 public:
  enum Part { time_shift, wkv, channel_shift };
  using Shape = std::vector<size_t>;

  State(SessionSnapshot snapshot, const ModelInfo& model);
  State(std::array<FloatArray, 3> parts, bool copy);

  const Shape& shape(Part part) const { return shapes_[part]; }
  /// Of an array that Python may write to from here on.
  float* data(Part part);
  /// What this is now and will never be anything else: a copy where Python may write to the arrays.
  std::shared_ptr<const SessionSnapshot> snapshot() const;
  /// What this is now, without a copy, where Python may write to it; else null.
  std::shared_ptr<const SessionSnapshot> seen() const { return is_seen_ ? snapshot_ : nullptr; }
  /// All but the arrays.
  const SessionSnapshot& rest() const { return *snapshot_; }
  SessionSnapshot& writable();

 private:
  // Shared with sessions, which rely on it, only until Python sees its arrays.
  std::shared_ptr<SessionSnapshot> snapshot_;
  bool is_seen_ = false;
  std::array<Shape, 3> shapes_;
  std::array<FloatArray, 3> borrowed_;  // empty where the snapshot's own arrays are used
};

/// Owns a snapshot whose memory, once nobody has it any more, is that of the next ones: as much as two are kept.
std::shared_ptr<SessionSnapshot> share(SessionSnapshot snapshot);
/// A snapshot to be overwritten, with such memory if there is some.
SessionSnapshot spare_snapshot();
/// Gives back what is kept.
void drop_spares();

void bind_state(nanobind::module_& module);

}  // namespace ravenwing::python
