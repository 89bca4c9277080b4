// ravenwing bench sweep: how fast prompts are read, by the size of a step.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <bit>
#include <charconv>
#include <filesystem>
#include <memory>
#include <optional>

#include "bench_commands.hpp"
#include "bench_print.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

struct SweepFlags {
  EngineFlags engine;
  std::string synthetic, chunk = "64..2048";
  uint32_t n_prompt = 2048, repeat = 5;
  bool json = false;
};

struct ChunkReading {
  uint32_t chunk = 0;
  Readings tok_s;
  uint64_t gpu_bytes = 0;  // at most
  std::string error;       // not empty: such steps cannot be
};

/// The powers of two of "64..2048", or of "512" alone.
std::vector<uint32_t> chunks_of(const std::string& range) {
  const size_t dots = std::min(range.find(".."), range.size());
  const auto number = [&](std::string_view text) {
    uint32_t value = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || rest != text.data() + text.size() || value == 0 || value > EngineOptions::kChunkMax) {
      fail(ErrorCode::bad_request, "--chunk {}: must be two numbers from 1 to {}, as in 64..2048", printable(range),
           EngineOptions::kChunkMax);
    }
    return value;
  };
  const uint32_t first = number(std::string_view(range).substr(0, dots));
  const uint32_t last = dots == range.size() ? first : number(std::string_view(range).substr(dots + 2));
  std::vector<uint32_t> chunks;
  for (uint32_t chunk = std::bit_ceil(first); chunk <= last; chunk *= 2) chunks.push_back(chunk);
  if (chunks.empty())
    fail(ErrorCode::bad_request, "--chunk {}: there is no power of two from {} to {}", range, first, last);
  return chunks;
}

/// In an engine of its own, which takes the place of the one before.
ChunkReading measure_chunk(const SweepFlags& flags, uint32_t chunk, std::optional<Engine>& engine) {
  ChunkReading reading{.chunk = chunk};
  const bool is_first = !engine;
  engine.reset();
  try {
    const EngineOptions options{.chunk = chunk, .max_sessions = 1, .tuning = TuningMode::kept};
    engine.emplace(is_first ? open_engine(flags.engine, options) : Engine(engine_options(flags.engine, options)));
    reading.tok_s = measure_prefill(*engine, flags.n_prompt, flags.repeat);
    reading.gpu_bytes = engine->memory().peak;
  } catch (const Error& error) {
    // Too much for this device: smaller steps were not.
    if (is_first || (error.code() != ErrorCode::unsupported && error.code() != ErrorCode::out_of_memory)) throw;
    reading.error = error.what();
  }
  return reading;
}

double speed(const ChunkReading& reading) { return reading.error.empty() ? reading.tok_s.median() : 0; }

const ChunkReading& best_of(const std::vector<ChunkReading>& readings) {
  return *std::max_element(readings.begin(), readings.end(),
                           [](const ChunkReading& a, const ChunkReading& b) { return speed(a) < speed(b); });
}

/// The best so far becomes the tuned chunk, where the default one was measured too and the prompt has room for each.
std::filesystem::path keep(Engine& engine, const SweepFlags& flags, const std::vector<ChunkReading>& readings) {
  const auto standard = std::find_if(readings.begin(), readings.end(), [](const ChunkReading& reading) {
    return reading.chunk == EngineOptions::kChunkDefault;
  });
  if (standard == readings.end() || flags.n_prompt < readings.back().chunk) return {};
  const ChunkReading& best = best_of(readings);
  return engine.keep_chunk(best.chunk, 1e6 / speed(best), 1e6 / speed(*standard));
}

std::string to_text(const SweepFlags& flags, const std::vector<ChunkReading>& readings,
                    const std::filesystem::path& kept) {
  std::string text =
      fmt::format("prefill of {}\n{:>8}{:>12}   {:22}{:>14}\n", flags.n_prompt, "chunk", "tok/s", "", "GPU MB, peak");
  for (const ChunkReading& reading : readings) {
    text += reading.error.empty()
                ? fmt::format("{:>8}{:>12}   {:22}{:>14.1f}\n", reading.chunk, short_number(reading.tok_s.median()),
                              fmt::format("({} to {})", short_number(reading.tok_s.least()),
                                          short_number(reading.tok_s.most())),
                              megabytes(reading.gpu_bytes))
                : fmt::format("{:>8}   {}\n", reading.chunk, printable(reading.error));
  }
  text += fmt::format("best: {}", best_of(readings).chunk);
  return text + (kept.empty() ? "\n" : fmt::format(", the default from now on ({})\n", printable(kept.native())));
}

std::string to_json(const SweepFlags& flags, const std::vector<ChunkReading>& readings,
                    const std::filesystem::path& kept) {
  nlohmann::ordered_json json = {
      {"prompt_tokens", flags.n_prompt},
      {"repeat", flags.repeat},
      {"best_chunk", best_of(readings).chunk},
      {"kept_in", kept.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(kept.native())},
      {"chunks", nlohmann::ordered_json::array()}};
  for (const ChunkReading& reading : readings) {
    nlohmann::ordered_json row = {{"chunk", reading.chunk}, {"prefill_tok_s", json_of(reading.tok_s)}};
    if (reading.error.empty())
      row["gpu_peak_bytes"] = reading.gpu_bytes;
    else
      row["error"] = reading.error;
    json["chunks"].push_back(std::move(row));
  }
  return json_line(json);
}

void run(SweepFlags& flags) {
  const std::vector<uint32_t> chunks = chunks_of(flags.chunk);
  const auto synthetic = use_synthetic(flags.synthetic, flags.engine);
  std::vector<ChunkReading> readings;
  std::optional<Engine> engine;
  std::filesystem::path kept;
  for (const uint32_t chunk : chunks) {
    check_interrupted();
    readings.push_back(measure_chunk(flags, chunk, engine));
    if (!readings.back().error.empty()) break;
    kept = keep(*engine, flags, readings);
  }
  write_out(flags.json ? to_json(flags, readings, kept) : to_text(flags, readings, kept));
}

}  // namespace

void add_bench_sweep(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand("sweep", "find the size of a step at which prompts are read fastest");
  auto flags = std::make_shared<SweepFlags>();
  add_synthetic_flag(*command, flags->synthetic);
  command->add_option("--chunk", flags->chunk, "tokens of a step: the powers of two from A to B")
      ->type_name("A..B")
      ->capture_default_str();
  add_prompt_tokens_flag(*command, flags->n_prompt);
  add_repeat_flag(*command, flags->repeat);
  command->add_flag("--json", flags->json, "one JSON object");
  add_engine_flags(*command, flags->engine);
  command->footer("Example:\n  ravenwing bench sweep --synthetic 2.9b:q4_k_m --chunk 64..2048");
  command->callback([flags, &bench] {
    refuse_flags_of(bench);
    run(*flags);
  });
}

}  // namespace ravenwing::apps
