#include "bench_measure.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <fstream>
#include <numeric>

#include "bench_text.hpp"
#include "energy.hpp"
#include "limits_text.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kQualityTokens = 512;
constexpr uint32_t kHashedTokens = 32;
constexpr std::string_view kHashedPrompts[] = {"Once upon a time", "The raven said", "In 1969", "def main():"};
/// Drivers tell the energy a few times a second.
constexpr double kEnergyMs = 1500;

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

/// The smallest value that a share of `q` of all are not above.
double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  const auto rank = ptrdiff_t(std::ceil(q * double(values.size()))) - 1;
  std::nth_element(values.begin(), values.begin() + std::max<ptrdiff_t>(rank, 0), values.end());
  return values[size_t(std::max<ptrdiff_t>(rank, 0))];
}

/// Adds what happened between two looks at an engine's caches.
void add_use(StepCacheUse& sum, const StepCacheUse& before, const StepCacheUse& after) {
  for (const auto count : {&StepCacheUse::plans, &StepCacheUse::pipelines, &StepCacheUse::bind_groups}) {
    (sum.*count).hits += (after.*count).hits - (before.*count).hits;
    (sum.*count).misses += (after.*count).misses - (before.*count).misses;
  }
  sum.buffers_made += after.buffers_made - before.buffers_made;
}

std::vector<uint32_t> prompt_of(const Engine& engine, const BenchFlags& flags) {
  if (flags.prompt.empty()) return some_ids(engine, flags.n_prompt);
  return engine.tokenizer().encode(flags.prompt);
}

void measure_alone(Engine& engine, const BenchFlags& flags, BenchResults& results) {
  const std::vector<uint32_t> ids = prompt_of(engine, flags);
  results.n_prompt = ids.size();
  Session session = engine.new_session();
  std::vector<Clock::time_point> times;  // when each token came
  times.reserve(flags.n_tokens);
  GenerateOptions options = greedy(flags.n_tokens);
  options.on_token = [&](uint32_t) { times.push_back(Clock::now()); };
  std::vector<double> gaps_ms;
  StepCacheUse before;
  // The first run makes plans and compiles shaders.
  for (uint32_t run = 0; run <= flags.repeat; ++run) {
    session.reset();
    times.clear();
    const Timings timings = session.generate(ids, options).timings;
    if (run == 0) {
      results.first_prefill_ms = timings.prefill_ms;
      before = engine.step_caches();
      continue;
    }
    results.prefill_tok_s.values.push_back(per_second(double(timings.prefill_tokens), timings.prefill_ms));
    results.prompt_to_token_ms.values.push_back(timings.prefill_ms);
    results.decode_tok_s.values.push_back(per_second(double(timings.decode_tokens), timings.decode_ms));
    for (size_t i = 1; i < times.size(); ++i)
      gaps_ms.push_back(std::chrono::duration<double, std::milli>(times[i] - times[i - 1]).count());
  }
  add_use(results.caches, before, engine.step_caches());
  results.token_p50_ms = quantile(gaps_ms, 0.5);
  results.token_p99_ms = quantile(gaps_ms, 0.99);
}

void measure_batch(Engine& engine, const BenchFlags& flags, BenchResults& results) {
  std::vector<Session> sessions;
  std::vector<Request> requests;
  for (uint32_t i = 0; i < flags.batch; ++i) sessions.push_back(engine.new_session());
  for (Session& session : sessions) requests.push_back({&session, some_ids(engine, 1), greedy(flags.n_tokens)});
  StepCacheUse before;
  for (uint32_t run = 0; run <= flags.repeat; ++run) {
    for (Session& session : sessions) session.reset();
    double ms = 0, n_tokens = 0;
    for (const Completion& completion : engine.generate(requests)) {
      ms = std::max(ms, completion.timings.decode_ms);
      n_tokens += double(completion.timings.decode_tokens);
    }
    if (run == 0)
      before = engine.step_caches();
    else
      results.batch_decode_tok_s.values.push_back(per_second(n_tokens, ms));
  }
  add_use(results.caches, before, engine.step_caches());
}

/// Apart from the runs that are timed: asking the driver takes its time.
void measure_energy(Engine& engine, const BenchFlags& flags, BenchResults& results) {
  std::optional<EnergyMeter> meter = EnergyMeter::open(engine.device());
  if (!meter) return;
  Session session = engine.new_session();
  const std::vector<uint32_t> start = some_ids(engine, 1);
  double n_tokens = 0, joules = 0;
  const double joules_before = meter->joules();
  for (const Clock::time_point begin = Clock::now(); n_tokens == 0 || ms_since(begin) < kEnergyMs;) {
    session.reset();
    n_tokens += double(session.generate(start, greedy(flags.n_tokens)).ids.size());
    joules = meter->joules() - joules_before;
  }
  results.joules_per_token = joules / n_tokens;
}

/// FNV-1a over the greedy ids of fixed prompts: equal on one device, tier and mode as long as the numbers are equal.
std::string quality_hash(Engine& engine) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::string_view prompt : kHashedPrompts) {
    Session session = engine.new_session();
    for (const uint32_t id : session.generate(engine.tokenizer().encode(prompt), greedy(kHashedTokens)).ids) {
      for (int shift = 0; shift < 32; shift += 8) hash = (hash ^ (id >> shift & 0xff)) * 0x100000001b3;
    }
  }
  return fmt::format("{:016x}", hash);
}

double quality_nats(Engine& engine) {
  std::vector<uint32_t> ids = engine.tokenizer().encode(kBenchText);
  ids.resize(std::min(ids.size(), kQualityTokens));
  const std::vector<double> scores = engine.new_session().score(ids);
  return std::accumulate(scores.begin(), scores.end(), 0.0) / double(scores.size());
}

void measure_engine(const BenchFlags& flags, BenchResults& results) {
  Engine engine = open_engine(
      flags.engine, {.chunk = flags.chunk, .max_sessions = std::max(flags.batch, 1u), .tuning = TuningMode::kept});
  results.model = model_name(engine);
  results.file_bytes = engine.model().file_bytes;
  results.device = engine.device();
  results.chunk = engine.chunk();
  results.load_ms = engine.load_ms();
  results.device_ms = engine.device_ms();
  results.host_anonymous_bytes = process_bytes("RssAnon:");
  measure_alone(engine, flags, results);
  results.first_token_ms = engine.first_token_ms();
  if (flags.batch > 1) measure_batch(engine, flags, results);
  measure_energy(engine, flags, results);
  results.quality_hash = quality_hash(engine);
  results.quality_nats = quality_nats(engine);
  results.gpu = engine.memory();
  results.pipeline_cache = engine.pipeline_cache();
  results.host_peak_bytes = process_bytes("VmHWM:");
}

/// The model's file is in the page cache by now. Only the cache of compiled shaders is left out for the cold load, not
/// what the driver keeps for itself.
void measure_loads(const BenchFlags& flags, BenchResults& results) {
  const auto load_ms = [&](bool cached) {
    check_interrupted();
    EngineOptions options = engine_options(
        flags.engine, {.chunk = flags.chunk, .max_sessions = std::max(flags.batch, 1u), .tuning = TuningMode::kept});
    options.pipeline_cache = cached;
    return Engine(options).load_ms();
  };
  results.cold_load_ms = load_ms(false);
  if (flags.engine.no_pipeline_cache) return;
  for (uint32_t i = 0; i < flags.repeat; ++i) results.warm_load_ms.values.push_back(load_ms(true));
}

std::optional<StepWork> measure_step(Engine& engine, uint32_t n_tokens) {
  check_interrupted();
  const StepProfile profile = engine.profile(1, n_tokens);
  if (!profile.gpu_us) return std::nullopt;
  StepWork work{.n_tokens = n_tokens, .us = *profile.gpu_us};
  for (const ProfiledDispatch& dispatch : profile.dispatches) {
    work.bytes += dispatch.bytes;
    work.flops += dispatch.flops;
  }
  return work;
}

/// In an engine of its own: a device with an open clock finds no shaders in the cache that one without it has filled.
void measure_gpu_time(const BenchFlags& flags, BenchResults& results) {
  std::optional<Engine> engine;
  try {
    engine.emplace(engine_options(
        flags.engine, {.chunk = flags.chunk, .max_sessions = 1, .profiling = true, .tuning = TuningMode::kept}));
    results.decode = measure_step(*engine, 1);
    // Of a power of two: the work of others is that of the next.
    results.prefill =
        measure_step(*engine, std::bit_floor(uint32_t(std::min<size_t>(results.n_prompt, results.chunk))));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unsupported) throw;
    return;  // the adapter has no clock
  }
  results.limits = limits_of(*engine);
}

}  // namespace

double Readings::median() const {
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
double Readings::least() const { return *std::min_element(values.begin(), values.end()); }
double Readings::most() const { return *std::max_element(values.begin(), values.end()); }

std::optional<double> BenchResults::gpu_busy() const {
  if (!decode) return std::nullopt;
  return decode->us * decode_tok_s.median() / 1e6;
}

BenchResults measure(const BenchFlags& flags) {
  BenchResults results;
  measure_engine(flags, results);
  measure_loads(flags, results);
  measure_gpu_time(flags, results);
  return results;
}

std::string model_name(const Engine& engine) {
  return engine.model().name.empty() ? engine.model().path.filename().string() : engine.model().name;
}

GenerateOptions greedy(uint32_t n_tokens) {
  GenerateOptions options{.max_tokens = n_tokens, .stop_tokens = {}};
  options.sampler.temperature = 0;
  return options;
}

std::vector<uint32_t> some_ids(const Engine& engine, size_t n) {
  std::vector<uint32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = uint32_t(1 + i * 7919 % std::max(engine.model().n_vocab / 2, 2u));
  return ids;
}

double per_second(double n, double ms) { return ms > 0 ? n * 1000 / ms : 0; }

Readings measure_prefill(Engine& engine, size_t n_prompt, uint32_t repeat) {
  Session session = engine.new_session();
  const std::vector<uint32_t> ids = some_ids(engine, n_prompt);
  Readings tok_s;
  for (uint32_t run = 0; run <= repeat; ++run) {
    session.reset();
    const Timings timings = session.generate(ids, greedy(1)).timings;
    if (run > 0) tok_s.values.push_back(per_second(double(timings.prefill_tokens), timings.prefill_ms));
  }
  return tok_s;
}

Readings measure_decode(Engine& engine, uint32_t n_tokens, uint32_t repeat) {
  Session session = engine.new_session();
  Readings tok_s;
  for (uint32_t run = 0; run <= repeat; ++run) {
    session.reset();
    const Timings timings = session.generate(some_ids(engine, 1), greedy(n_tokens)).timings;
    if (run > 0) tok_s.values.push_back(per_second(double(timings.decode_tokens), timings.decode_ms));
  }
  return tok_s;
}

uint64_t process_bytes(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(key.size() + 1)) * 1024;
  }
  return 0;
}

}  // namespace ravenwing::apps
