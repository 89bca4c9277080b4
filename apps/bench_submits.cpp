// ravenwing bench submits: how fast one text is decoded, by what goes into one submit.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "bench_commands.hpp"
#include "bench_print.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

struct SubmitFlags {
  EngineFlags engine;
  std::string synthetic;
  std::vector<uint32_t> steps{1, 2, 4, 8}, dispatches{64, 16, 4};
  uint32_t n_tokens = 256, repeat = 5;
  bool json = false;
};

struct ShapeReading {
  SubmitShape shape;
  Readings tok_s;
};

/// A number of steps each, then a number of dispatches each.
std::vector<ShapeReading> shapes_of(const SubmitFlags& flags) {
  std::vector<ShapeReading> readings;
  for (const uint32_t n : flags.steps) readings.push_back({.shape = {.steps = n}, .tok_s = {}});
  for (const uint32_t n : flags.dispatches) readings.push_back({.shape = {.dispatches = n}, .tok_s = {}});
  return readings;
}

/// All in turns, so that a clock that changes meets them alike; the first round, which makes plans and compiles
/// shaders, is left out.
void measure(const SubmitFlags& flags, Engine& engine, std::vector<ShapeReading>& readings) {
  std::vector<uint32_t> ids;
  for (uint32_t round = 0; round <= flags.repeat; ++round) {
    for (ShapeReading& reading : readings) {
      check_interrupted();
      const SubmitReading found = engine.time_submits(reading.shape, flags.n_tokens);
      if (ids.empty()) ids = found.ids;
      if (found.ids != ids) {
        const auto other = std::mismatch(ids.begin(), ids.end(), found.ids.begin(), found.ids.end()).first;
        fail(ErrorCode::unsupported,
             "{} steps, {} dispatches to a submit, round {}: other tokens were drawn than before, from token {} on",
             reading.shape.steps, reading.shape.dispatches, round, other - ids.begin());
      }
      if (round > 0) reading.tok_s.values.push_back(1e6 / found.us);
    }
  }
}

std::string to_text(const SubmitFlags& flags, const std::vector<ShapeReading>& readings) {
  std::string text = fmt::format("decode of {}\n{:>8}{:>12}{:>12}\n", flags.n_tokens, "steps", "dispatches", "tok/s");
  for (const auto& [shape, tok_s] : readings) {
    text += fmt::format("{:>8}{:>12}{:>12}   ({} to {})\n", shape.steps,
                        shape.dispatches > 0 ? fmt::format("{}", shape.dispatches) : "all",
                        short_number(tok_s.median()), short_number(tok_s.least()), short_number(tok_s.most()));
  }
  return text;
}

std::string to_json(const SubmitFlags& flags, const Engine& engine, const std::vector<ShapeReading>& readings) {
  nlohmann::ordered_json json = {{"device", engine.device().name},
                                 {"model", model_name(engine)},
                                 {"tokens", flags.n_tokens},
                                 {"repeat", flags.repeat},
                                 {"submits", nlohmann::ordered_json::array()}};
  for (const auto& [shape, tok_s] : readings) {
    json["submits"].push_back(
        {{"steps", shape.steps},
         {"dispatches", shape.dispatches > 0 ? nlohmann::ordered_json(shape.dispatches) : nullptr},
         {"decode_tok_s", json_of(tok_s)}});
  }
  return json_line(json);
}

void run(SubmitFlags& flags) {
  std::vector<ShapeReading> readings = shapes_of(flags);
  const auto synthetic = use_synthetic(flags.synthetic, flags.engine);
  Engine engine = open_engine(flags.engine, {.max_sessions = 1, .tuning = TuningMode::kept});
  measure(flags, engine, readings);
  write_out(flags.json ? to_json(flags, engine, readings) : to_text(flags, readings));
}

void add_numbers(CLI::App& command, const std::string& flag, std::vector<uint32_t>& numbers, const std::string& what,
                 uint32_t most) {
  command.add_option(flag, numbers, what)
      ->delimiter(',')
      ->type_name("N,M,...")
      ->check(CLI::Range(1u, most))
      ->capture_default_str();
}

}  // namespace

void add_bench_submits(CLI::App& bench) {
  CLI::App* command =
      bench.add_subcommand("submits", "decode with several tokens in one submit, or a token in several");
  auto flags = std::make_shared<SubmitFlags>();
  add_synthetic_flag(*command, flags->synthetic);
  add_numbers(*command, "--steps", flags->steps, "tokens of a submit", SubmitShape::kStepsMax);
  add_numbers(*command, "--dispatches", flags->dispatches, "dispatches of a submit, of one token", 1u << 20);
  add_tokens_flag(*command, flags->n_tokens);
  add_repeat_flag(*command, flags->repeat);
  command->add_flag("--json", flags->json, "one JSON object");
  add_engine_flags(*command, flags->engine);
  command->footer("Example:\n  ravenwing bench submits --synthetic 2.9b:q4_k_m --no-persistent");
  command->callback([flags, &bench] {
    refuse_flags_of(bench);
    run(*flags);
  });
}

}  // namespace ravenwing::apps
