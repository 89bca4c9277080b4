// ravenwing bench: what this machine does with a model.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <sstream>

#include "bench_text.hpp"
#include "command.hpp"
#include "ravenwing/synthetic.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

constexpr size_t kQualityTokens = 512;
constexpr uint32_t kHashedTokens = 32;
constexpr std::string_view kHashedPrompts[] = {"Once upon a time", "The raven said", "In 1969", "def main():"};

struct BenchFlags {
  EngineFlags engine;
  std::string synthetic, write;
  uint32_t n_prompt = 512, n_tokens = 128, batch = 32, repeat = 3;
  bool json = false;
};

/// Readings of one figure.
struct Readings {
  std::vector<double> values;
  double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const size_t middle = sorted.size() / 2;
    return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
  double least() const { return *std::min_element(values.begin(), values.end()); }
  double most() const { return *std::max_element(values.begin(), values.end()); }
};

struct Results {
  Readings prefill_tok_s, decode_tok_s, batch_decode_tok_s;
  double first_prefill_ms = 0;  // of the first prompt, shaders and plans included
  std::string quality_hash;
  double quality_nats = 0;
  MemoryUse gpu;
  uint64_t host_peak_bytes = 0, host_anonymous_bytes = 0;
};

/// "VmHWM:   123 kB" of this process, in bytes.
uint64_t process_bytes(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(key.size() + 1)) * 1024;
  }
  return 0;
}

GenerateOptions greedy(uint32_t n_tokens) {
  GenerateOptions options{.max_tokens = n_tokens, .stop_tokens = {}};
  options.sampler.temperature = 0;
  return options;
}

/// Any ids do: the work is the same.
std::vector<uint32_t> some_ids(const Engine& engine, uint32_t n) {
  std::vector<uint32_t> ids(n);
  for (uint32_t i = 0; i < n; ++i) ids[i] = 1 + i * 7919 % std::max(engine.model().n_vocab / 2, 2u);
  return ids;
}

double per_second(double n, double ms) { return ms > 0 ? n * 1000 / ms : 0; }

void measure_alone(Engine& engine, const BenchFlags& flags, Results& results) {
  const std::vector<uint32_t> ids = some_ids(engine, flags.n_prompt);
  Session session = engine.new_session();
  // The first run makes plans and compiles shaders.
  for (uint32_t run = 0; run <= flags.repeat; ++run) {
    session.reset();
    const Timings timings = session.generate(ids, greedy(flags.n_tokens)).timings;
    if (run == 0) {
      results.first_prefill_ms = timings.prefill_ms;
      continue;
    }
    results.prefill_tok_s.values.push_back(per_second(double(timings.prefill_tokens), timings.prefill_ms));
    results.decode_tok_s.values.push_back(per_second(double(timings.decode_tokens), timings.decode_ms));
  }
}

void measure_batch(Engine& engine, const BenchFlags& flags, Results& results) {
  std::vector<Session> sessions;
  std::vector<Request> requests;
  for (uint32_t i = 0; i < flags.batch; ++i) sessions.push_back(engine.new_session());
  for (Session& session : sessions) requests.push_back({&session, some_ids(engine, 1), greedy(flags.n_tokens)});
  for (uint32_t run = 0; run <= flags.repeat; ++run) {
    for (Session& session : sessions) session.reset();
    double ms = 0, n_tokens = 0;
    for (const Completion& completion : engine.generate(requests)) {
      ms = std::max(ms, completion.timings.decode_ms);
      n_tokens += double(completion.timings.decode_tokens);
    }
    if (run > 0) results.batch_decode_tok_s.values.push_back(per_second(n_tokens, ms));
  }
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

std::string model_name(const Engine& engine) {
  return engine.model().name.empty() ? engine.model().path.filename().string() : engine.model().name;
}

std::string to_json(const Engine& engine, const BenchFlags& flags, const Results& results) {
  const auto readings = [](const Readings& of) -> nlohmann::ordered_json {
    if (of.values.empty()) return nullptr;
    return {{"median", of.median()}, {"min", of.least()}, {"max", of.most()}};
  };
  const nlohmann::ordered_json json = {
      {"model", model_name(engine)},
      {"file_bytes", engine.model().file_bytes},
      {"device", engine.device().name},
      {"driver", engine.device().driver},
      {"tier", engine.device().tier},
      {"fallback", engine.device().fallback},
      {"validated", engine.device().validated},
      {"exact", flags.engine.exact},
      {"load", flags.engine.load},
      {"load_ms", engine.load_ms()},
      {"first_token_ms", engine.first_token_ms()},
      {"device_ms", engine.device_ms()},
      {"first_prefill_ms", results.first_prefill_ms},
      {"prompt_tokens", flags.n_prompt},
      {"tokens", flags.n_tokens},
      {"repeat", flags.repeat},
      {"prefill_tok_s", readings(results.prefill_tok_s)},
      {"decode_tok_s", readings(results.decode_tok_s)},
      {"batch", flags.batch},
      {"batch_decode_tok_s", readings(results.batch_decode_tok_s)},
      {"gpu_bytes", {{"weights", results.gpu.weights}, {"state", results.gpu.state}, {"scratch", results.gpu.scratch}}},
      {"host_peak_bytes", results.host_peak_bytes},
      {"host_anonymous_bytes", results.host_anonymous_bytes},
      {"quality_hash", results.quality_hash},
      {"quality_nats", results.quality_nats}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string to_text(const Engine& engine, const BenchFlags& flags, const Results& results) {
  const auto line = [](const char* what, const Readings& of) {
    return of.values.empty()
               ? std::string()
               : fmt::format("{:24}{:10.1f} tok/s   ({:.1f} to {:.1f})\n", what, of.median(), of.least(), of.most());
  };
  const auto mb = [](uint64_t bytes) { return double(bytes) / 1e6; };
  std::string text =
      fmt::format("{}, {:.0f} MB, on {} ({}), {}{}\n", printable(model_name(engine)), mb(engine.model().file_bytes),
                  printable(engine.device().name), printable(engine.device().driver), engine.device().tier,
                  flags.engine.exact ? ", exact" : "");
  text +=
      fmt::format("{:24}{:10.1f} ms      (and the device {:.1f} ms)\n", "load", engine.load_ms(), engine.device_ms());
  text += line(fmt::format("prefill of {}", flags.n_prompt).c_str(), results.prefill_tok_s);
  text += line("decode, 1 sequence", results.decode_tok_s);
  text += line(fmt::format("decode, {} sequences", flags.batch).c_str(), results.batch_decode_tok_s);
  text += fmt::format("{:24}{:10.1f} MB      weights {:.1f}, states {:.1f}, scratch {:.1f}\n", "GPU memory",
                      mb(results.gpu.weights + results.gpu.state + results.gpu.scratch), mb(results.gpu.weights),
                      mb(results.gpu.state), mb(results.gpu.scratch));
  text += fmt::format("{:24}{:10.1f} MB      of it not of files {:.1f}\n", "host memory, peak",
                      mb(results.host_peak_bytes), mb(results.host_anonymous_bytes));
  text += fmt::format("{:24}{}  {:.5f} nats a token\n", "quality", results.quality_hash, results.quality_nats);
  return text;
}

void run(BenchFlags& flags) {
  if (!flags.synthetic.empty() && !flags.engine.model.empty())
    fail(ErrorCode::bad_request, "give either -m FILE or --synthetic SHAPE:QUANT");
  if (!flags.write.empty()) {
    if (flags.synthetic.empty()) fail(ErrorCode::bad_request, "--write needs --synthetic SHAPE:QUANT");
    write_synthetic_model(flags.synthetic, flags.write);
    flags.engine.model = flags.write;
  }
  const auto synthetic = use_synthetic(flags.write.empty() ? flags.synthetic : "", flags.engine);
  Engine engine = open_engine(flags.engine, {.max_sessions = std::max(flags.batch, 1u)});
  Results results;
  results.host_anonymous_bytes = process_bytes("RssAnon:");
  measure_alone(engine, flags, results);
  if (flags.batch > 1) measure_batch(engine, flags, results);
  results.quality_hash = quality_hash(engine);
  results.quality_nats = quality_nats(engine);
  results.gpu = engine.memory();
  results.host_peak_bytes = process_bytes("VmHWM:");
  write_out(flags.json ? to_json(engine, flags, results) : to_text(engine, flags, results));
}

}  // namespace

void add_bench(CLI::App& program) {
  CLI::App* command = program.add_subcommand("bench", "measure speed, memory and quality");
  auto flags = std::make_shared<BenchFlags>();
  command->add_option("--synthetic", flags->synthetic, "random weights of a real shape, made in memory: 2.9b:q4_k_m")
      ->type_name("SHAPE:QUANT");
  command->add_option("--write", flags->write, "write the synthetic model to this file and load it from there")
      ->type_name("FILE");
  command->add_option("--prompt-tokens", flags->n_prompt, "length of the prompt")
      ->type_name("N")
      ->check(CLI::Range(1u, 1u << 20))
      ->capture_default_str();
  command->add_option("-n,--tokens", flags->n_tokens, "tokens to generate")
      ->type_name("N")
      ->check(CLI::Range(2u, 1u << 20))
      ->capture_default_str();
  command->add_option("--batch", flags->batch, "sequences that decode together; 1: leave that out")
      ->type_name("B")
      ->check(CLI::Range(1u, 4096u))
      ->capture_default_str();
  command->add_option("--repeat", flags->repeat, "readings of each figure; the median counts")
      ->type_name("R")
      ->check(CLI::Range(1u, 1000u))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "one JSON object");
  add_engine_flags(*command, flags->engine);
  command->footer("Example:\n  ravenwing bench --synthetic 2.9b:q4_k_m --batch 32");
  add_bench_kernels(*command);
  command->callback([flags, command] {
    if (command->get_subcommands().empty()) run(*flags);  // else that has run
  });
}

}  // namespace ravenwing::apps
