// ravenwing bench kernels: which kernel is far from what the device can do.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "bench_commands.hpp"
#include "command.hpp"
#include "limits_text.hpp"
#include "ravenwing/kernel_bench.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

struct KernelFlags {
  KernelBenchOptions bench;
  std::string states = "f32";
  bool no_pipeline_cache = false, json = false;
};

nlohmann::ordered_json to_json(const KernelReading& reading, const MeasuredLimits& limits) {
  nlohmann::ordered_json json = {{"family", reading.family},   {"kernel", reading.kernel},
                                 {"shape", reading.shape},     {"format", reading.format},
                                 {"tile", reading.tile},       {"sequences", reading.n_sequences},
                                 {"tokens", reading.n_tokens}, {"us", nullptr},
                                 {"bytes", reading.bytes},     {"flops", reading.flops},
                                 {"limit_percent", nullptr}};
  if (reading.us) {
    json["us"] = *reading.us;
    json["limit_percent"] = 100 * limits.share(reading.bytes, reading.flops, *reading.us);
  } else {
    json["reason"] = reading.reason;
  }
  return json;
}

std::string to_text(const KernelReading& reading, const MeasuredLimits& limits) {
  const std::string name = fmt::format("{:6}{:26}{:8}{:>9}{}{}", reading.shape, reading.kernel, reading.format,
                                       fmt::format("{} x {}", reading.n_sequences, reading.n_tokens),
                                       reading.tile.empty() ? "" : "  ", reading.tile);
  if (!reading.us) return fmt::format("{}  {}\n", name, printable(reading.reason.substr(0, reading.reason.find('\n'))));
  return fmt::format("{}{:>12.2f}{:>10}{:>10}{:>7.1f}%\n", name, *reading.us, rate(reading.bytes, *reading.us, 1e9),
                     rate(reading.flops, *reading.us, 1e12),
                     100 * limits.share(reading.bytes, reading.flops, *reading.us));
}

void run(KernelFlags& flags) {
  flags.bench.pipeline_cache = !flags.no_pipeline_cache;
  flags.bench.state_storage = state_storage_of(flags.states);
  flags.bench.cancel = &interrupted();
  const auto is_all = [](const std::vector<std::string>& names) { return names == std::vector<std::string>{"all"}; };
  if (is_all(flags.bench.families)) flags.bench.families.clear();
  if (is_all(flags.bench.shapes)) flags.bench.shapes = synthetic_shapes();
  if (is_all(flags.bench.formats)) flags.bench.formats = kernel_formats();
  KernelBench bench(flags.bench);
  const MeasuredLimits& limits = bench.limits();
  nlohmann::ordered_json readings = nlohmann::ordered_json::array();
  if (!flags.json) {
    write_out(fmt::format("{} {}{}\n{}\n{:6}{:26}{:8}{:>9}{:>12}{:>10}{:>10}{:>8}\n", printable(bench.device().name),
                          bench.device().tier, bench.device().validated ? ", with WebGPU's checks" : "",
                          limits_text(limits), "shape", "kernel", "weights", "tokens", "us", "GB/s", "TFLOP/s",
                          "limit"));
  }
  Progress progress("measuring");
  uint64_t done = 0;
  bench.run([&](const KernelReading& reading) {
    progress.finish();
    if (flags.json)
      readings.push_back(to_json(reading, limits));
    else
      write_out(to_text(reading, limits));
    progress.update(++done, bench.n_readings());
  });
  progress.finish();
  if (!flags.json) return;
  const nlohmann::ordered_json json = {{"device", bench.device().name}, {"driver", bench.device().driver},
                                       {"tier", bench.device().tier},   {"validated", bench.device().validated},
                                       {"limits", limits_json(limits)}, {"kernels", std::move(readings)}};
  write_out(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

CLI::Option* add_list(CLI::App& command, const std::string& flag, std::vector<std::string>& names,
                      const std::string& what) {
  return command.add_option(flag, names, what)->delimiter(',')->type_name("A,B,...");
}

}  // namespace

void add_bench_kernels(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand("kernels", "time every kernel on shapes of real models, against the limits");
  auto flags = std::make_shared<KernelFlags>();
  add_list(*command, "--shapes", flags->bench.shapes, "sizes of models, 0.1b to 13.3b, or all")->capture_default_str();
  add_list(*command, "--formats", flags->bench.formats, "of weights: F16, Q4_K and so on, or all")
      ->capture_default_str();
  command->add_option("--columns", flags->bench.columns, "tokens of a step")
      ->delimiter(',')
      ->type_name("N,M,...")
      ->check(CLI::Range(1u, KernelBenchOptions::kColumnsMax))
      ->capture_default_str();
  add_list(*command, "--families", flags->bench.families,
           fmt::format("of kernels: {}; all if left out", fmt::join(kernel_families(), ", ")));
  add_list(*command, "--matrices", flags->bench.matrices,
           "products of your own instead of a model's: ROWSxINPUTS or ROWS+ROWSxINPUTS, such as 10240x2560");
  add_list(*command, "--tiles", flags->bench.tiles,
           "force tiles on T2: SUBGROUPS_M/SUBGROUPS_N/SUBGROUPS_K/TILES_M/TILES_N/DEPTH[/SETS[/PARTS]], such as "
           "4/2/1/2/4/64");
  add_states_flag(*command, flags->states);
  add_device_flag(*command, flags->bench.device);
  command->add_option("--tier", flags->bench.tier, "use no more of the adapter than this tier: T0, T1, T2")
      ->type_name("TIER")
      ->check(CLI::IsMember({"T0", "T1", "T2"}));
  command->add_flag("--safe", flags->bench.safe, "keep WebGPU's checks of every call and index; slower");
  command->add_flag("--no-pipeline-cache", flags->no_pipeline_cache, "compile all shaders anew, and keep none");
  command->add_flag("--json", flags->json, "one JSON object");
  command->footer("Example:\n  ravenwing bench kernels --shapes 2.9b,7.2b --formats all --columns 1,32,512");
  command->callback([flags, &bench] {
    refuse_flags_of(bench);
    run(*flags);
  });
}

}  // namespace ravenwing::apps
