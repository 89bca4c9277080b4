// src/model/tuner.cpp
#include "model/tuner.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include "model/rwkv7_forward.hpp"
#include "model/tier_ladder.hpp"

namespace ravenwing {
namespace {

constexpr double kPassSeconds = 2e-3;
constexpr uint32_t kRepeatsMax = 64;
constexpr size_t kRounds = 7, kRoundsOfSoftware = 3;
/// A candidate this much slower than another is not timed again.
constexpr double kHopeless = 1.5;
/// What the fastest must win, as a share of the built-in choice's time: less is noise.
constexpr double kGain = 0.03;
constexpr uint32_t kChunks[] = {128, 256, 512, 1024, 2048};

double median(std::vector<double> values) {
  const auto middle = values.begin() + ptrdiff_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Whether two plans run the same shaders on the same grids.
bool same_work(const gpu::Plan& a, const gpu::Plan& b) {
  return std::ranges::equal(a.dispatches(), b.dispatches(), [](const gpu::Dispatch& left, const gpu::Dispatch& right) {
    return left.pipeline.Get() == right.pipeline.Get() && left.grid.x == right.grid.x && left.grid.y == right.grid.y &&
           left.grid.z == right.grid.z;
  });
}

std::string first_line(const std::string& text) { return text.substr(0, std::min<size_t>(text.find('\n'), 300)); }

}  // namespace

struct Tuner::Candidate {
  std::string name;
  kernels::Tuning tuning;
  gpu::Plan plan;
  std::vector<double> us;
  std::string rejected;

  bool is_right() const { return rejected.empty(); }
};

/// The built-in choice first.
std::vector<Tuner::Candidate> Tuner::candidates_of(const TuningJob& job) {
  std::vector<Candidate> candidates;
  candidates.push_back({std::string(TuningEntry::kDefault), {}, {}, {}, {}});
  if (const auto* key = std::get_if<kernels::MatMulKey>(&job.key)) {
    for (const kernels::MatMulChoice& choice : kernels::matmul_choices(stage_.device(), key->n_columns)) {
      candidates.push_back({name(choice), {}, {}, {}, {}});
      candidates.back().tuning.matmuls[*key] = choice;
    }
    return candidates;
  }
  const auto& key = std::get<kernels::TimeMixKey>(job.key);
  for (const kernels::TimeMixChoice& choice : kernels::time_mix_choices(stage_.device(), key)) {
    candidates.push_back({name(choice), {}, {}, {}, {}});
    candidates.back().tuning.time_mixes[key] = choice;
  }
  return candidates;
}

/// Those that do not compile, or that are the built-in choice, or that are wrong.
void Tuner::weed_out(const Trial& trial, std::vector<Candidate>& candidates) {
  check_();
  const auto expected = stage_.results_of(trial, {}, true);
  for (Candidate& candidate : candidates) {
    check_();
    try {
      candidate.plan = stage_.plan_of(trial, candidate.tuning);
      if (&candidate != &candidates.front() && same_work(candidate.plan, candidates.front().plan)) {
        candidate.rejected = "the same as the default";
        continue;
      }
      check_();
      const auto found = stage_.results_of(trial, candidate.tuning, false);
      for (size_t i = 0; i < expected.size() && candidate.is_right(); ++i)
        candidate.rejected = compare_results(found[i], expected[i]);
    } catch (const gpu::CompileError& error) {
      candidate.rejected = "does not compile: " + first_line(error.what());
    }
  }
}

/// In turns, so that a GPU that changes its clock does so for all.
void Tuner::time(const Trial& trial, std::vector<Candidate>& candidates) {
  const bool software = stage_.device().info().software;
  double best_us = INFINITY;
  for (size_t round = 0; round < (software ? kRoundsOfSoftware : kRounds); ++round) {
    for (Candidate& candidate : candidates) {
      const bool is_default = &candidate == &candidates.front();
      if (!candidate.is_right()) continue;
      if (!is_default && !candidate.us.empty() && median(candidate.us) > kHopeless * best_us) continue;
      double us = 0;
      for (const TrialStep& step : trial.steps) {
        check_();
        const double once = stage_.time(trial, candidate.plan, step, 1);
        const double wanted = software ? 1 : std::ceil(kPassSeconds / std::max(once, 1e-9));
        const auto n = uint32_t(std::clamp(wanted, 1.0, double(kRepeatsMax)));
        check_();
        us += 1e6 * (n == 1 ? once : stage_.time(trial, candidate.plan, step, n) / n) / trial.n_copies;
      }
      candidate.us.push_back(us);
      best_us = std::min(best_us, us);
    }
  }
}

TunedSubject Tuner::measure(const TuningJob& job) {
  std::vector<Candidate> candidates = candidates_of(job);
  TunedSubject result{.subject = job.subject, .choice = std::string(TuningEntry::kDefault), .reason = {}};
  if (candidates.size() == 1) {
    result.reason = "this device has one way only";
    return result;
  }
  const Trial trial = stage_.trial_of(job);
  weed_out(trial, candidates);
  const bool comparable = candidates.front().is_right();
  if (comparable) time(trial, candidates);
  for (const Candidate& candidate : candidates) {
    const double us = candidate.us.empty() ? 0 : median(candidate.us);
    if (on_reading) on_reading({job.subject, candidate.name, us, candidate.rejected});
    if (&candidate == &candidates.front()) {
      result.default_us = result.us = us;
    } else if (comparable && candidate.is_right() && us < result.us && us <= (1 - kGain) * result.default_us) {
      result.choice = candidate.name;
      result.us = us;
    }
  }
  if (!comparable) result.reason = "the built-in choice: " + candidates.front().rejected;
  return result;
}

TunedSubject Tuner::run(const TuningJob& job) {
  TunedSubject result{.subject = job.subject, .choice = std::string(TuningEntry::kDefault), .reason = {}};
  try {
    result = measure(job);
    stage_.device().check();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory && error.code() != ErrorCode::unsupported) throw;
    result.reason = error.what();
    return result;
  } catch (const gpu::CompileError& error) {
    result.reason = first_line(error.what());
    return result;
  }
  file_.set(job.subject, {result.choice, result.default_us, result.us});
  return result;
}

namespace {

/// Microseconds a token of steps of `chunk`, the median of several readings of one text.
double chunk_us(gpu::Device& device, rwkv7::Model& model, uint32_t chunk, const Tuner::Check& check) {
  const size_t n_readings = device.info().software ? 1 : 5;
  const uint32_t n_tokens = model.tokens_max();
  const std::vector<uint32_t> ids(chunk, 1);
  kernels::StepInput input(n_tokens);
  input.add_chunk({0, ids});
  std::vector<double> us;
  for (size_t i = 0; i <= n_readings; ++i) {
    check();
    const auto begin = std::chrono::steady_clock::now();
    for (uint32_t done = 0; done < n_tokens; done += chunk) model.submit(input);
    device.wait_idle();
    us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count() /
                 n_tokens);
  }
  us.erase(us.begin());  // compiles, and makes the plan
  return median(us);
}

}  // namespace

TunedSubject tune_chunk(gpu::Device& device, const format::ModelFile& file, const rwkv7::ModelSource& source,
                        TuningFile& tuning, const Tuner::Check& check) {
  TunedSubject result{
      .subject = chunk_subject(source.config), .choice = std::string(TuningEntry::kDefault), .reason = {}};
  std::unique_ptr<rwkv7::Model> model;
  const auto open = [&](uint32_t tokens_max) {
    const rwkv7::ModelOptions options{
        .n_slots = 1, .tokens_max = tokens_max, .tuning = choices_of(tuning, device).kernels};
    model = std::make_unique<rwkv7::Model>(device, file, source, options, [&](uint64_t, uint64_t) { check(); });
  };
  try {
    open(device.info().software ? EngineOptions::kChunkDefault : EngineOptions::kChunkMax);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory && error.code() != ErrorCode::unsupported) throw;
    open(EngineOptions::kChunkDefault);
  }
  result.default_us = result.us = chunk_us(device, *model, EngineOptions::kChunkDefault, check);
  for (const uint32_t chunk : kChunks) {
    if (chunk > model->tokens_max() || chunk == EngineOptions::kChunkDefault) continue;
    const double us = chunk_us(device, *model, chunk, check);
    if (us >= result.us || us > (1 - kGain) * result.default_us) continue;
    result.choice = std::to_string(chunk);
    result.us = us;
  }
  tuning.set(result.subject, {result.choice, result.default_us, result.us});
  return result;
}

TuneReport tune(const TuneOptions& options) {
  struct Stop {};
  const Tuner::Check check = [&] {
    if (options.cancel != nullptr && *options.cancel) throw Stop();
  };
  const format::ModelFile file = format::ModelFile::open(options.model);
  const rwkv7::ModelSource source = rwkv7::read_model_source(file);
  std::vector<uint32_t> sizes = options.columns;
  for (const uint32_t size : sizes) {
    if (size == 0 || size > EngineOptions::kChunkDefault || kernels::size_class(size) != size)
      fail(ErrorCode::bad_request, "{} columns: must be a power of two up to {}", size, EngineOptions::kChunkDefault);
  }
  if (sizes.empty() && options.quick) sizes = {1, 8, 32, 128, 512};
  std::vector<TuningJob> jobs = tuning_jobs(source, rwkv7::low_rank_formats(source), sizes);
  std::erase_if(jobs, [&](const TuningJob& job) { return !job.subject.starts_with(options.only); });

  // As an engine opens it, so that the results are its own.
  EngineOptions engine;
  engine.device = options.device;
  engine.tier = options.tier;
  engine.safe = options.safe;
  engine.pipeline_cache = options.pipeline_cache;
  engine.profiling = gpu::choose_adapter(options.device).adapter.HasFeature(wgpu::FeatureName::TimestampQuery);
  engine.cancel = options.cancel;
  TuningStage stage(TierLadder(source, engine).open());
  TuningFile tuning = tuning_file_of(stage.device());
  TuneReport report{.device = stage.device().info(), .file = tuning.path(), .subjects = {}};
  const bool chunk = !options.quick && chunk_subject(source.config).starts_with(options.only);
  try {
    Tuner tuner(stage, tuning, check);
    for (size_t i = 0; i < jobs.size(); ++i) {
      tuner.on_reading = [&](TuneReading reading) {
        reading.done = i + 1;
        reading.total = jobs.size() + (chunk ? 1 : 0);
        if (options.on_reading) options.on_reading(reading);
      };
      report.subjects.push_back(tuner.run(jobs[i]));
    }
    if (chunk) report.subjects.push_back(tune_chunk(stage.device(), file, source, tuning, check));
  } catch (const Stop&) {
    report.cancelled = true;
  }
  return report;
}

}  // namespace ravenwing
