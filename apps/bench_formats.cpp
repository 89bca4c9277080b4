// ravenwing bench formats: one model in several files, side by side.
#include <CLI/CLI.hpp>
#include <fstream>
#include <memory>

#include "bench_commands.hpp"
#include "bench_print.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

struct FormatsFlags {
  EngineFlags engine;
  std::vector<std::string> files;
  uint32_t n_prompt = 512, n_tokens = 128, repeat = 5;
  bool json = false;
};

struct Reading {
  std::string file;
  uint64_t file_bytes = 0, gpu_bytes = 0, host_peak_bytes = 0;
  Readings load_ms, prefill_tok_s, decode_tok_s;
};

/// From here on VmHWM is of what comes; without /proc it stays that of the whole process.
void forget_host_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

Reading measure_file(const FormatsFlags& flags, const std::string& file) {
  EngineFlags engine_flags = flags.engine;
  engine_flags.model = file;
  Reading reading{.file = file};
  // The first load may compile shaders and read the disk; it tells of nobody's format.
  for (uint32_t run = 0; run <= flags.repeat; ++run) {
    check_interrupted();
    forget_host_peak();
    Engine engine = run == 0 ? open_engine(engine_flags) : Engine(engine_options(engine_flags, {.max_sessions = 1}));
    if (run > 0) reading.load_ms.values.push_back(engine.load_ms());
    if (run < flags.repeat) continue;
    reading.file_bytes = engine.model().file_bytes;
    reading.prefill_tok_s = measure_prefill(engine, flags.n_prompt, flags.repeat);
    reading.decode_tok_s = measure_decode(engine, flags.n_tokens, flags.repeat);
    reading.gpu_bytes = engine.memory().peak;
    reading.host_peak_bytes = process_bytes("VmHWM:");
  }
  return reading;
}

std::string to_text(const FormatsFlags& flags, const std::vector<Reading>& readings) {
  std::string text = fmt::format("{:>10}{:>10}{:>10}{:>10}{:>12}{:>12}  {}\n", "file MB", "load ms", "host MB",
                                 "GPU MB", fmt::format("pp{} tok/s", flags.n_prompt), "tg tok/s", "file");
  for (const Reading& reading : readings) {
    text += fmt::format("{:>10.1f}{:>10}{:>10.1f}{:>10.1f}{:>12}{:>12}  {}\n", megabytes(reading.file_bytes),
                        short_number(reading.load_ms.median()), megabytes(reading.host_peak_bytes),
                        megabytes(reading.gpu_bytes), short_number(reading.prefill_tok_s.median()),
                        short_number(reading.decode_tok_s.median()), printable(reading.file));
  }
  return text;
}

std::string to_json(const FormatsFlags& flags, const std::vector<Reading>& readings) {
  nlohmann::ordered_json json = {{"prompt_tokens", flags.n_prompt},
                                 {"tokens", flags.n_tokens},
                                 {"repeat", flags.repeat},
                                 {"files", nlohmann::ordered_json::array()}};
  for (const Reading& reading : readings) {
    json["files"].push_back({{"file", reading.file},
                             {"file_bytes", reading.file_bytes},
                             {"load_ms", json_of(reading.load_ms)},
                             {"host_peak_bytes", reading.host_peak_bytes},
                             {"gpu_peak_bytes", reading.gpu_bytes},
                             {"prefill_tok_s", json_of(reading.prefill_tok_s)},
                             {"decode_tok_s", json_of(reading.decode_tok_s)}});
  }
  return json_line(json);
}

void run(const FormatsFlags& flags) {
  std::vector<Reading> readings;
  for (const std::string& file : flags.files) readings.push_back(measure_file(flags, file));
  write_out(flags.json ? to_json(flags, readings) : to_text(flags, readings));
}

}  // namespace

void add_bench_formats(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand("formats", "compare files of one model: size, load, memory, speed");
  auto flags = std::make_shared<FormatsFlags>();
  command->add_option("FILE", flags->files, ".gguf and .safetensors files of RWKV-7 models")
      ->type_name("FILE")
      ->required();
  add_prompt_tokens_flag(*command, flags->n_prompt);
  add_tokens_flag(*command, flags->n_tokens);
  add_repeat_flag(*command, flags->repeat);
  command->add_flag("--json", flags->json, "one JSON object");
  add_engine_flags(*command, flags->engine, ModelFlag::no);
  command->footer("Example:\n  ravenwing bench formats a.gguf a.safetensors");
  command->callback([flags, &bench] {
    refuse_flags_of(bench);
    run(*flags);
  });
}

}  // namespace ravenwing::apps
