// python/src/state.cpp: views of a snapshot's arrays.
#include "state.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <mutex>

namespace ravenwing::python {

namespace nb = nanobind;
using namespace nb::literals;

namespace {

std::vector<float>& values_of(ravenwing::State& state, State::Part part) {
  switch (part) {
    case State::time_shift:
      return state.time_shift;
    case State::wkv:
      return state.wkv;
    case State::channel_shift:
      break;
  }
  return state.channel_shift;
}

/// Never destroyed: States may outlive all else.
struct Spares {
  static constexpr size_t kMax = 2;
  std::mutex mutex;
  std::vector<SessionSnapshot> snapshots;

  Spares() { snapshots.reserve(kMax); }
  static Spares& all() {
    static auto* const spares = new Spares;
    return *spares;
  }
};

constexpr State::Part kParts[] = {State::time_shift, State::wkv, State::channel_shift};

SessionSnapshot copy_of(const SessionSnapshot& snapshot) {
  SessionSnapshot copy = spare_snapshot();
  copy = snapshot;
  return copy;
}

template <State::Part part>
nb::ndarray<nb::numpy, float> view(nb::handle_t<State> self) {
  State& state = nb::cast<State&>(self);
  const State::Shape& shape = state.shape(part);
  return nb::ndarray<nb::numpy, float>(state.data(part), shape.size(), shape.data(), self);
}

}  // namespace

std::shared_ptr<SessionSnapshot> share(SessionSnapshot snapshot) {
  const auto give_back = [](SessionSnapshot* gone) {
    const std::unique_ptr<SessionSnapshot> owner(gone);
    Spares& spares = Spares::all();
    const std::lock_guard lock(spares.mutex);
    ravenwing::State& state = gone->state;
    if (spares.snapshots.size() == Spares::kMax || state.wkv.empty()) return;
    SessionSnapshot& spare = spares.snapshots.emplace_back();
    spare.state.time_shift = std::move(state.time_shift);
    spare.state.wkv = std::move(state.wkv);
    spare.state.channel_shift = std::move(state.channel_shift);
  };
  return {new SessionSnapshot(std::move(snapshot)), give_back};
}

SessionSnapshot spare_snapshot() {
  Spares& spares = Spares::all();
  const std::lock_guard lock(spares.mutex);
  if (spares.snapshots.empty()) return {};
  SessionSnapshot snapshot = std::move(spares.snapshots.back());
  spares.snapshots.pop_back();
  return snapshot;
}

void drop_spares() {
  Spares& spares = Spares::all();
  const std::lock_guard lock(spares.mutex);
  spares.snapshots.clear();
}

State::State(SessionSnapshot snapshot, const ModelInfo& model) : snapshot_(share(std::move(snapshot))) {
  const Shape shift = {model.n_layer, model.n_embd};
  shapes_ = {shift, Shape{model.n_layer, model.n_head, model.head_size, model.head_size}, shift};
}

State::State(std::array<FloatArray, 3> parts, bool copy)
    : snapshot_(share(copy ? spare_snapshot() : SessionSnapshot())) {
  for (const Part part : kParts) {
    const FloatArray& array = parts[part];
    for (size_t i = 0; i < array.ndim(); ++i) shapes_[part].push_back(array.shape(i));
    if (copy)
      values_of(snapshot_->state, part).assign(array.data(), array.data() + array.size());
    else
      borrowed_[part] = array;
  }
  const Shape& shape = shapes_[wkv];
  if (shape.size() != 4) return;  // and restore() refuses it
  ravenwing::State& state = snapshot_->state;
  state.n_layer = uint32_t(shape[0]);
  state.n_head = uint32_t(shape[1]);
  state.head_size = uint32_t(shape[2]);
}

SessionSnapshot& State::writable() {
  if (!is_seen_ && snapshot_.use_count() > 1) snapshot_ = share(copy_of(*snapshot_));
  return *snapshot_;
}

float* State::data(Part part) {
  if (borrowed_[part].is_valid()) return borrowed_[part].data();
  SessionSnapshot& mine = writable();
  is_seen_ = true;
  return values_of(mine.state, part).data();
}

std::shared_ptr<const SessionSnapshot> State::snapshot() const {
  if (!is_seen_ && !borrowed_[time_shift].is_valid()) return snapshot_;
  auto whole = share(copy_of(*snapshot_));
  for (const Part part : kParts) {
    const FloatArray& array = borrowed_[part];
    if (array.is_valid()) values_of(whole->state, part).assign(array.data(), array.data() + array.size());
  }
  return whole;
}

void bind_state(nb::module_& module) {
  const auto rest = [](auto member) {
    return [member](const State& state) -> const auto& { return state.rest().*member; };
  };
  const auto set = [](auto member) {
    return [member](State& state, std::decay_t<decltype(state.rest().*member)> value) {
      state.writable().*member = std::move(value);
    };
  };
  nb::class_<State>(module, "State", "A text's state; its arrays are views of this object's memory.")
      .def(
          "__init__",
          [](State* self, FloatArray time_shift, FloatArray wkv, FloatArray channel_shift, bool copy) {
            new (self) State({std::move(time_shift), std::move(wkv), std::move(channel_shift)}, copy);
          },
          "time_shift"_a.noconvert(), "wkv"_a.noconvert(), "channel_shift"_a.noconvert(), "copy"_a)
      .def_prop_ro("time_shift", &view<State::time_shift>)
      .def_prop_ro("wkv", &view<State::wkv>)
      .def_prop_ro("channel_shift", &view<State::channel_shift>)
      .def_prop_rw("n_tokens", rest(&SessionSnapshot::n_tokens), set(&SessionSnapshot::n_tokens))
      .def_prop_rw("pending", rest(&SessionSnapshot::pending), set(&SessionSnapshot::pending), nb::arg().none())
      .def_prop_rw(
          "undecoded",
          [](const State& state) { return nb::bytes(state.rest().undecoded.data(), state.rest().undecoded.size()); },
          [](State& state, const nb::bytes& bytes) { state.writable().undecoded.assign(bytes.c_str(), bytes.size()); })
      .def_prop_rw("counts", rest(&SessionSnapshot::counts), set(&SessionSnapshot::counts))
      .def_prop_rw("mirostat_mu", rest(&SessionSnapshot::mirostat_mu), set(&SessionSnapshot::mirostat_mu))
      .def_prop_rw("history", rest(&SessionSnapshot::history), set(&SessionSnapshot::history));
}

}  // namespace ravenwing::python
