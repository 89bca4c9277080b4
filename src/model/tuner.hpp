// Trying every way to compute something, and noting the fastest that is right.
#pragma once

#include <functional>
#include <set>

#include "model/tuning_stage.hpp"
#include "ravenwing/tune.hpp"

namespace ravenwing {

class Tuner {
 public:
  /// Called before each piece of work, some milliseconds of the GPU or a shader to compile; throws to stop.
  using Check = std::function<void()>;

  /// `file`: where what was found is written, job by job.
  Tuner(TuningStage& stage, TuningFile& file, Check check) : stage_(stage), file_(file), check_(std::move(check)) {}

  std::function<void(const TuneReading&)> on_reading;

  /// A job that the device has no room for has the reason, and is not written down. Throws what `check` and the device
  /// throw; then nothing is known of this job.
  TunedSubject run(const TuningJob& job);

 private:
  struct Candidate;
  std::vector<Candidate> candidates_of(const TuningJob& job);
  TunedSubject measure(const TuningJob& job);
  void weed_out(const Trial& trial, std::vector<Candidate>& candidates);
  void time(const Trial& trial, std::vector<Candidate>& candidates);

  TuningStage& stage_;
  TuningFile& file_;
  Check check_;
};

/// Times steps of a model by the tokens that they have, and writes down which are fastest if they beat those of
/// EngineOptions::kChunkDefault.
TunedSubject tune_chunk(gpu::Device& device, const format::ModelFile& file, const rwkv7::ModelSource& source,
                        TuningFile& tuning, const Tuner::Check& check);

}  // namespace ravenwing
