// ravenwing tune: which kernels are fastest on this device.
#include "ravenwing/tune.hpp"

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

struct TuneFlags {
  EngineFlags engine;
  TuneOptions tune;
  std::string synthetic;
  bool no_pipeline_cache = false, json = false;
};

std::string to_text(const TuneReading& reading) {
  const std::string name = fmt::format("{:>4}/{:<4} {:34}{:26}", reading.done, reading.total,
                                       printable(reading.subject), printable(reading.candidate));
  const std::string why = reading.rejected.empty() ? "" : "   " + printable(reading.rejected);
  return reading.us > 0 ? fmt::format("{}{:>12.2f} us{}\n", name, reading.us, why) : fmt::format("{}{}\n", name, why);
}

std::string to_text(const TunedSubject& subject) {
  if (!subject.reason.empty()) return fmt::format("{:34}{}\n", printable(subject.subject), printable(subject.reason));
  const double gain = subject.us > 0 ? 100 * (subject.default_us / subject.us - 1) : 0;
  return fmt::format("{:34}{:>12.2f}{:>12.2f}{:>9.1f}%  {}\n", printable(subject.subject), subject.default_us,
                     subject.us, gain, printable(subject.choice));
}

std::string to_text(const TuneReport& report) {
  std::string text = fmt::format("\n{} {}\n{:34}{:>12}{:>12}{:>10}  {}\n", printable(report.device.name),
                                 report.device.tier, "shape", "before, us", "after, us", "faster", "choice");
  size_t n_better = 0;
  for (const TunedSubject& subject : report.subjects) {
    text += to_text(subject);
    n_better += subject.us < subject.default_us ? 1 : 0;
  }
  const std::string where = report.file.empty() ? std::string("kept nowhere: there is no cache folder")
                                                : "written to " + printable(report.file.native());
  return text + fmt::format("{} of {} shapes have a faster choice; {}\n", n_better, report.subjects.size(), where);
}

std::string to_json(const TuneReport& report, const nlohmann::ordered_json& readings) {
  nlohmann::ordered_json json = {{"device", report.device.name},
                                 {"driver", report.device.driver},
                                 {"tier", report.device.tier},
                                 {"file", report.file.native()},
                                 {"cancelled", report.cancelled}};
  json["shapes"] = nlohmann::ordered_json::array();
  for (const TunedSubject& subject : report.subjects) {
    json["shapes"].push_back({{"shape", subject.subject},
                              {"choice", subject.choice},
                              {"default_us", subject.default_us},
                              {"us", subject.us},
                              {"reason", subject.reason}});
  }
  json["readings"] = readings;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void run(TuneFlags& flags) {
  const auto synthetic = use_synthetic(flags.synthetic, flags.engine);
  flags.tune.model = flags.engine.model.empty() ? demo_model_path() : std::filesystem::path(flags.engine.model);
  flags.tune.pipeline_cache = !flags.no_pipeline_cache;
  flags.tune.cancel = &interrupted();
  nlohmann::ordered_json readings = nlohmann::ordered_json::array();
  flags.tune.on_reading = [&](const TuneReading& reading) {
    if (!flags.json) return write_out(to_text(reading));
    readings.push_back({{"shape", reading.subject},
                        {"candidate", reading.candidate},
                        {"us", reading.us},
                        {"rejected", reading.rejected}});
  };
  const TuneReport report = tune(flags.tune);
  write_out(flags.json ? to_json(report, readings) : to_text(report));
  check_interrupted();
}

}  // namespace

void add_tune(CLI::App& program) {
  CLI::App* command = program.add_subcommand("tune", "measure which kernels are fastest on this device, and keep it");
  auto flags = std::make_shared<TuneFlags>();
  command
      ->add_option("-m,--model", flags->engine.model,
                   "the model whose matrices are measured, .gguf or .safetensors; the demo model if left out")
      ->type_name("FILE");
  command->add_option("--synthetic", flags->synthetic, "a model of a real shape, made in memory: 2.9b:q4_k_m")
      ->type_name("SHAPE:QUANT");
  add_device_flag(*command, flags->tune.device);
  command->add_option("--tier", flags->tune.tier, "use no more of the adapter than this tier: T0, T1, T2")
      ->type_name("TIER")
      ->check(CLI::IsMember({"T0", "T1", "T2"}));
  command->add_flag("--quick", flags->tune.quick, "fewer sizes of steps, and no chunk length");
  command->add_option("--columns", flags->tune.columns, "sizes of steps, powers of two up to 512")
      ->delimiter(',')
      ->type_name("N,M,...");
  command
      ->add_option("--only", flags->tune.only, "measure the shapes alone that begin so: product:Q4_K, time_mix, chunk")
      ->type_name("TEXT");
  command->add_flag("--safe", flags->tune.safe, "for runs with --safe: keep WebGPU's checks");
  command->add_flag("--no-pipeline-cache", flags->no_pipeline_cache, "compile all shaders anew, and keep none");
  command->add_flag("--json", flags->json, "one JSON object");
  command->footer("Example:\n  ravenwing tune --model model.gguf --quick");
  command->callback([flags] { run(*flags); });
}

}  // namespace ravenwing::apps
