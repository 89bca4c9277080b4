// python/src/core.cpp: turns, cancelling, closing.
#include "core.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "state.hpp"

namespace ravenwing::python {
namespace {

constexpr const char* kModelClosed = "the model is closed: open a new one with ravenwing.Model(...)";
constexpr const char* kForked =
    "this model belongs to the process that this one was forked from, and a GPU does not follow a fork: open a model "
    "in the child, or start it with multiprocessing's method 'spawn'";

struct Registry {
  std::mutex mutex;
  std::vector<std::weak_ptr<Core>> cores;
};
/// Never destroyed: cores may outlive static objects.
Registry& registry() {
  static Registry* const all = new Registry;
  return *all;
}

}  // namespace

SessionBox::~SessionBox() { core->retire(*this); }

Core::Core(const EngineOptions& options) : process_(getpid()), options_(options) {
  options_.cancel = &cancel_;
  options_.on_recovery = [this](const std::string& what) {
    const std::lock_guard lock(mutex_);
    warnings_.push_back(what);
  };
}

std::shared_ptr<Core> Core::make(const EngineOptions& options) {
  const std::shared_ptr<Core> core(new Core(options), [](Core* done) {
    // After a fork its threads are not here: what would wait for them is left as it is.
    if (done->is_forked()) return;
    done->close();
    delete done;
  });
  const std::lock_guard lock(registry().mutex);
  std::erase_if(registry().cores, [](const auto& known) { return known.expired(); });
  registry().cores.push_back(core);
  return core;
}

bool Core::is_forked() const { return getpid() != process_; }

void Core::check_process() const {
  if (is_forked()) throw Unusable(kForked);
}

void Core::begin_turn(Call& call) {
  check_process();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return current_ == nullptr || closed_ || call.cancelled; });
  if (closed_) throw Unusable(kModelClosed);
  if (call.cancelled) throw Error(ErrorCode::cancelled, "cancelled");
  give_turn(call);
}

bool Core::begin_at_once(Call& call, Takes takes) {
  // Weights that come when they are needed take as long as they take.
  if (takes == Takes::any_time || options_.load == LoadMode::lazy) return false;
  const std::lock_guard lock(mutex_);
  if (current_ != nullptr || closed_ || !engine_ || (takes == Takes::a_step && engine_->device().software))
    return false;
  give_turn(call);
  return true;
}

void Core::give_turn(Call& call) {
  current_ = &call;
  call.has_turn = true;
  cancel_ = false;
}

void Core::end_turn() {
  {
    const std::lock_guard lock(mutex_);
    current_ = nullptr;
    retired_.clear();
  }
  changed_.notify_all();
}

void Core::cancel(Call& call) {
  if (is_forked()) return;
  {
    const std::lock_guard lock(mutex_);
    call.cancelled = true;
    if (current_ == &call) cancel_ = true;
  }
  changed_.notify_all();
}

void Core::close() {
  check_process();
  std::unique_lock lock(mutex_);
  closed_ = true;
  if (current_ != nullptr) {
    current_->cancelled = true;
    cancel_ = true;
  }
  changed_.notify_all();
  changed_.wait(lock, [&] { return current_ == nullptr; });
  for (SessionBox* box : boxes_) box->session.reset();
  boxes_.clear();
  engine_.reset();
  drop_spares();
}

bool Core::closed() {
  check_process();
  const std::lock_guard lock(mutex_);
  return closed_;
}

void Core::adopt(SessionBox& box, Session session) {
  const std::lock_guard lock(mutex_);
  box.session = std::make_unique<Session>(std::move(session));
  boxes_.insert(&box);
}

Session& Core::session_of(SessionBox& box) {
  const std::lock_guard lock(mutex_);
  if (!box.session) throw Unusable("the session is closed: make a new one with model.session()");
  return *box.session;
}

size_t Core::n_free_sessions() {
  const std::lock_guard lock(mutex_);
  retired_.clear();
  return options_.max_sessions - boxes_.size();
}

void Core::retire(SessionBox& box) {
  if (is_forked()) {
    box.session.release();
    return;
  }
  const std::lock_guard lock(mutex_);
  boxes_.erase(&box);
  if (current_ != nullptr && box.session) retired_.push_back(std::move(box.session));
  box.session.reset();
}

std::vector<std::string> Core::take_warnings() {
  const std::lock_guard lock(mutex_);
  return std::exchange(warnings_, {});
}

void close_all() {
  std::vector<std::weak_ptr<Core>> cores;
  {
    const std::lock_guard lock(registry().mutex);
    cores = registry().cores;
  }
  for (const auto& known : cores) {
    const std::shared_ptr<Core> core = known.lock();
    // A parent's model is the parent's to close.
    if (core && !core->is_forked()) core->close();
  }
}

}  // namespace ravenwing::python
