// python/src/job.cpp: the thread of a generation.
#include "job.hpp"

#include <algorithm>

#include "run.hpp"

namespace ravenwing::python {

struct Job::Shared {
  std::shared_ptr<Core> core;
  JobInput input;
  Call call;
  std::mutex mutex;  // of all below
  std::condition_variable changed;
  std::deque<std::string> pieces;
  bool done = false;
  std::exception_ptr error;
  std::vector<Completion> completions;
};

namespace {

/// Continues texts in new sessions, as many at once as there are free ones.
std::vector<Completion> continue_texts(Core& core, Engine& engine, const JobInput& input) {
  std::vector<Completion> completions;
  for (size_t first = 0; first < input.texts.size();) {
    // Where none is free, new_session() says so.
    const size_t n = std::min(input.texts.size() - first, std::max<size_t>(core.n_free_sessions(), 1));
    std::vector<Session> sessions;
    sessions.reserve(n);
    std::vector<Request> requests;
    for (size_t i = 0; i < n; ++i) {
      if (i > 0 && input.prefix) {
        sessions.push_back(sessions.front().fork());
      } else {
        sessions.push_back(engine.new_session());
        if (input.prefix) sessions.back().restore(input.prefix);
      }
      requests.push_back({&sessions.back(), input.texts[first + i], input.options[first + i]});
    }
    for (Completion& completion : engine.generate(requests)) completions.push_back(std::move(completion));
    first += n;
  }
  return completions;
}

}  // namespace

Job::Job(std::shared_ptr<Core> core, JobInput input, bool streaming) : shared_(std::make_shared<Shared>()) {
  core->check_process();
  shared_->core = std::move(core);
  shared_->input = std::move(input);
  for (GenerateOptions& options : shared_->input.options) {
    options.on_text = [shared = shared_.get(), streaming](std::string_view text) {
      if (streaming) {
        const std::lock_guard lock(shared->mutex);
        shared->pieces.emplace_back(text);
        shared->changed.notify_all();
      }
      return !shared->call.cancelled;
    };
  }
  worker_ = std::thread([shared = shared_] {
    std::vector<Completion> completions;
    std::exception_ptr error;
    try {
      completions = shared->core->use(shared->call, [&](Engine& engine) -> std::vector<Completion> {
        const JobInput& job = shared->input;
        if (!job.session) return continue_texts(*shared->core, engine, job);
        return {shared->core->session_of(*job.session).generate(job.texts.front(), job.options.front())};
      });
    } catch (...) {
      error = std::current_exception();
    }
    const std::lock_guard lock(shared->mutex);
    shared->completions = std::move(completions);
    shared->error = error;
    shared->done = true;
    shared->changed.notify_all();
  });
}

Job::~Job() {
  if (shared_->core->is_forked()) {
    // The thread is not here, and whoever waited on the lock is not either.
    new std::thread(std::move(worker_));
    new std::shared_ptr<Shared>(std::move(shared_));
    return;
  }
  cancel();
  worker_.join();
}

void Job::cancel() { shared_->core->cancel(shared_->call); }

bool Job::wait(std::chrono::milliseconds time, bool for_text) {
  std::unique_lock lock(shared_->mutex);
  return shared_->changed.wait_for(lock, time, [&] { return shared_->done || (for_text && !shared_->pieces.empty()); });
}

std::optional<std::string> Job::next() {
  shared_->core->check_process();
  wait_for([&](auto interval) { return wait(interval, true); }, [&] { cancel(); });
  const std::lock_guard lock(shared_->mutex);
  if (shared_->pieces.empty()) {
    if (shared_->error) std::rethrow_exception(shared_->error);
    return std::nullopt;
  }
  std::string piece = std::move(shared_->pieces.front());
  shared_->pieces.pop_front();
  return piece;
}

std::vector<Completion> Job::result() {
  shared_->core->check_process();
  wait_for([&](auto interval) { return wait(interval, false); }, [&] { cancel(); });
  show_warnings(*shared_->core);
  const std::lock_guard lock(shared_->mutex);
  if (shared_->error) std::rethrow_exception(shared_->error);
  return shared_->completions;
}

}  // namespace ravenwing::python
