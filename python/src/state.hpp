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
  float* data(Part part);
  /// Copies nothing but arrays that are borrowed.
  std::shared_ptr<const SessionSnapshot> snapshot() const;
  /// All but the arrays.
  SessionSnapshot& rest() { return *snapshot_; }

 private:
  std::shared_ptr<SessionSnapshot> snapshot_;
  std::array<Shape, 3> shapes_;
  std::array<FloatArray, 3> borrowed_;  // empty where the snapshot's own arrays are used
};

void bind_state(nanobind::module_& module);

}  // namespace ravenwing::python
