// src/model/background_tuner.cpp
#include "model/background_tuner.hpp"

#include <algorithm>

#include "model/tuner.hpp"

namespace ravenwing {
namespace {

struct Stopped {};

}  // namespace

BackgroundTuner::BackgroundTuner(Options options, std::vector<TuningJob> jobs)
    : options_(std::move(options)), jobs_(std::move(jobs)), gate_(options_.quiet) {
  std::ranges::reverse(jobs_);
}

BackgroundTuner::~BackgroundTuner() {
  gate_.close();
  if (thread_.joinable()) thread_.join();
}

void BackgroundTuner::end_of_answer() {
  if (thread_.joinable() || jobs_.empty()) return;  // the jobs are the thread's from then on
  thread_ = std::thread([this] { run(); });
}

void BackgroundTuner::run() {
  bool done = false;
  while (!done && gate_.wait()) {
    measuring_ = true;
    try {
      measure();
      done = true;
    } catch (const Stopped&) {
      // The next pause goes on with the job that was not finished.
    } catch (const std::exception&) {
      done = true;  // a device that cannot be tuned has the built-in choices
    }
    measuring_ = false;
  }
}

void BackgroundTuner::measure() {
  const Tuner::Check check = [this] {
    if (!gate_.is_open()) throw Stopped();
  };
  gpu::FoundAdapter found = gpu::choose_adapter(options_.selector);
  gpu::DeviceOptions device = options_.device;
  device.timestamps = found.adapter.HasFeature(wgpu::FeatureName::TimestampQuery);
  TuningStage stage(std::make_unique<gpu::Device>(std::move(found), device));
  TuningFile file = tuning_file_of(stage.device());
  Tuner tuner(stage, file, check);
  for (; !jobs_.empty(); jobs_.pop_back()) {
    check();
    // Another process may have been here.
    if (file.find(jobs_.back().subject) != nullptr) continue;
    tuner.run(jobs_.back());
    ++n_measured_;
  }
}

}  // namespace ravenwing
