// ravenwing profile: where the time of a step goes on the GPU.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.hpp"
#include "limits_text.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

struct ProfileFlags {
  EngineFlags engine;
  std::string synthetic, trace;
  uint32_t n_sequences = 1, n_tokens = 1, repeat = 5;
  bool json = false;
  SamplerParams sampler;
};

/// Dispatches of one kind, those of all layers together.
struct Kind {
  std::string name;
  uint32_t calls = 0, timed = 0;
  double us = 0;
  uint64_t bytes = 0, flops = 0;
};

/// "time_mix.output Q4_K" of "L03.time_mix.output Q4_K".
std::string kind_of(const std::string& label) {
  const size_t dot = label.find('.');
  const bool of_layer =
      label.size() > 1 && label[0] == 'L' && dot != label.npos &&
      std::all_of(label.begin() + 1, label.begin() + ptrdiff_t(dot), [](char c) { return c >= '0' && c <= '9'; });
  return of_layer ? label.substr(dot + 1) : label;
}

size_t n_untimed(const StepProfile& profile) {
  return size_t(std::count_if(profile.dispatches.begin(), profile.dispatches.end(),
                              [](const ProfiledDispatch& dispatch) { return !dispatch.us; }));
}

/// Of those that could time most dispatches, the one that took least GPU time.
const StepProfile& best_of(const std::vector<StepProfile>& profiles) {
  const auto cost = [](const StepProfile& profile) {
    double us = 0;
    for (const ProfiledDispatch& dispatch : profile.dispatches) us += dispatch.us.value_or(0);
    return std::pair(n_untimed(profile), us);
  };
  return *std::min_element(profiles.begin(), profiles.end(),
                           [&](const StepProfile& a, const StepProfile& b) { return cost(a) < cost(b); });
}

/// The slowest first.
std::vector<Kind> kinds_of(const StepProfile& profile) {
  std::map<std::string, Kind> kinds;
  for (const ProfiledDispatch& dispatch : profile.dispatches) {
    Kind& kind = kinds[kind_of(dispatch.label)];
    kind.name = kind_of(dispatch.label);
    kind.calls += 1;
    if (!dispatch.us) continue;
    kind.timed += 1;
    kind.us += *dispatch.us;
    kind.bytes += dispatch.bytes;
    kind.flops += dispatch.flops;
  }
  std::vector<Kind> sorted;
  for (auto& [name, kind] : kinds) sorted.push_back(std::move(kind));
  std::stable_sort(sorted.begin(), sorted.end(), [](const Kind& a, const Kind& b) { return a.us > b.us; });
  return sorted;
}

double dispatch_us(const std::vector<Kind>& kinds) {
  double us = 0;
  for (const Kind& kind : kinds) us += kind.us;
  return us;
}

struct Report {
  StepProfile profile;
  std::optional<MeasuredLimits> limits;
};

/// Of the device's limits, per cent.
std::optional<double> percent(const Kind& kind, const Report& report) {
  if (!report.limits || kind.timed == 0) return std::nullopt;
  return 100 * report.limits->share(kind.bytes, kind.flops, kind.us);
}

std::string percent_cell(const std::optional<double>& percent) {
  return percent ? fmt::format("{:.1f}%", *percent) : "n/a";
}

/// What is to be said of dispatches without a time; "" where there are none.
std::string untimed_text(const StepProfile& profile) {
  const size_t n = n_untimed(profile);
  if (n == 0) return "";
  return fmt::format(
      "\n{} of {} dispatches have no time, as the GPU's clock gave no sense: sums and shares are without them\n", n,
      profile.dispatches.size());
}

std::string to_text(const Engine& engine, const ProfileFlags& flags, const Report& report) {
  const StepProfile& profile = report.profile;
  const std::vector<Kind> kinds = kinds_of(profile);
  const double all_us = dispatch_us(kinds);
  std::string text = fmt::format(
      "{} x {} tokens on {} {}{}: {:.0f} us a step ({:.1f} tok/s); the CPU records and submits it in {:.0f} us\n"
      "{}Dispatch by dispatch {} us (each timed by itself, which adds to the short ones):\n\n"
      "{:36}{:>6}{:>12}{:>10}{:>8}{:>10}{:>10}{:>8}\n",
      flags.n_sequences, flags.n_tokens, printable(engine.device().name), engine.device().tier,
      flags.engine.states == "f32" ? "" : ", states " + flags.engine.states, profile.step_us,
      1e6 * flags.n_sequences * flags.n_tokens / profile.step_us, profile.encode_us, limits_text(report.limits),
      all_us > 0 ? fmt::format("{:.0f}", all_us) : "n/a", "dispatch", "calls", "us", "us each", "share", "GB/s",
      "TFLOP/s", "limit");
  for (const Kind& kind : kinds) {
    if (kind.timed == 0) {
      text += fmt::format("{:36}{:>6}{:>12}\n", printable(kind.name), kind.calls, "n/a");
      continue;
    }
    text += fmt::format("{:36}{:>6}{:>12.1f}{:>10.2f}{:>7.1f}%{:>10}{:>10}{:>8}\n", printable(kind.name), kind.calls,
                        kind.us, kind.us / kind.timed, 100 * kind.us / all_us, rate(kind.bytes, kind.us, 1e9),
                        rate(kind.flops, kind.us, 1e12), percent_cell(percent(kind, report)));
  }
  return text + untimed_text(profile);
}

std::string to_json(const Engine& engine, const ProfileFlags& flags, const Report& report) {
  nlohmann::ordered_json json = {{"device", engine.device().name},        {"driver", engine.device().driver},
                                 {"tier", engine.device().tier},          {"validated", engine.device().validated},
                                 {"sequences", flags.n_sequences},        {"tokens", flags.n_tokens},
                                 {"states", flags.engine.states},         {"step_us", report.profile.step_us},
                                 {"encode_us", report.profile.encode_us}, {"limits", limits_json(report.limits)},
                                 {"untimed", n_untimed(report.profile)},  {"kinds", nlohmann::ordered_json::array()}};
  for (const Kind& kind : kinds_of(report.profile)) {
    const auto limit_percent = percent(kind, report);
    json["kinds"].push_back({{"name", kind.name},
                             {"calls", kind.calls},
                             {"timed", kind.timed},
                             {"us", kind.timed > 0 ? nlohmann::ordered_json(kind.us) : nullptr},
                             {"bytes", kind.bytes},
                             {"flops", kind.flops},
                             {"limit_percent", limit_percent ? nlohmann::ordered_json(*limit_percent) : nullptr}});
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

/// In the form that Perfetto and chrome://tracing read: a track of the CPU, one of the GPU.
std::string to_trace(const StepProfile& profile) {
  enum Track { kCpu = 1, kGpu = 2 };
  nlohmann::ordered_json events = nlohmann::ordered_json::array();
  for (const auto& [track, name] : {std::pair(kCpu, "CPU"), std::pair(kGpu, "GPU")}) {
    events.push_back(
        {{"ph", "M"}, {"name", "thread_name"}, {"pid", 1}, {"tid", int(track)}, {"args", {{"name", name}}}});
  }
  for (const ProfiledHostSpan& host : profile.host) {
    events.push_back(
        {{"ph", "X"}, {"name", host.name}, {"pid", 1}, {"tid", int(kCpu)}, {"ts", host.begin_us}, {"dur", host.us}});
  }
  // Where the clocks contradict each other, the GPU's track begins with the CPU's.
  const double gpu_begin_us = profile.gpu_begin_us.value_or(0);
  for (const ProfiledDispatch& dispatch : profile.dispatches) {
    if (!dispatch.us || !dispatch.begin_us) continue;
    events.push_back({{"ph", "X"},
                      {"name", dispatch.label},
                      {"cat", kind_of(dispatch.label)},
                      {"pid", 1},
                      {"tid", int(kGpu)},
                      {"ts", gpu_begin_us + *dispatch.begin_us},
                      {"dur", *dispatch.us},
                      {"args", {{"bytes", dispatch.bytes}, {"flops", dispatch.flops}}}});
  }
  const nlohmann::ordered_json clock = profile.gpu_begin_us ? nlohmann::ordered_json(profile.clock_error_us) : nullptr;
  const nlohmann::ordered_json trace = {{"displayTimeUnit", "ns"},
                                        {"otherData", {{"clock_error_us", clock}, {"untimed", n_untimed(profile)}}},
                                        {"traceEvents", std::move(events)}};
  return trace.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void write_trace(const std::string& path, const StepProfile& profile) {
  std::ofstream file(path, std::ios::binary);
  file << to_trace(profile);
  file.close();
  if (!file) fail(ErrorCode::bad_file, "the trace could not be written to '{}'", printable(path));
}

void run(ProfileFlags& flags) {
  flags.sampler.validate();
  const auto synthetic = use_synthetic(flags.synthetic, flags.engine);
  Engine engine =
      open_engine(flags.engine, {.max_sessions = flags.n_sequences, .profiling = true, .tuning = TuningMode::kept});
  std::vector<StepProfile> profiles;
  for (uint32_t i = 0; i < flags.repeat; ++i) {
    check_interrupted();
    profiles.push_back(engine.profile(flags.n_sequences, flags.n_tokens, flags.sampler));
  }
  const Report report{best_of(profiles), limits_of(engine)};
  if (!flags.trace.empty()) write_trace(flags.trace, report.profile);
  write_out(flags.json ? to_json(engine, flags, report) : to_text(engine, flags, report));
}

}  // namespace

void add_profile(CLI::App& program) {
  CLI::App* command = program.add_subcommand("profile", "show where the time of a step goes on the GPU");
  auto flags = std::make_shared<ProfileFlags>();
  command->add_option("--synthetic", flags->synthetic, "random weights of a real shape, made in memory: 2.9b:q4_k_m")
      ->type_name("SHAPE:QUANT");
  command->add_option("--sequences", flags->n_sequences, "texts that share the step")
      ->type_name("B")
      ->check(CLI::Range(1u, 512u))
      ->capture_default_str();
  command->add_option("-n,--tokens", flags->n_tokens, "new tokens of each: 1 is decoding, many are a prompt")
      ->type_name("N")
      ->check(CLI::Range(1u, 512u))
      ->capture_default_str();
  command->add_option("--repeat", flags->repeat, "profiles to take; the fastest is shown")
      ->type_name("R")
      ->check(CLI::Range(1u, 1000u))
      ->capture_default_str();
  command->add_option("--trace", flags->trace, "write every dispatch to this file, for ui.perfetto.dev")
      ->type_name("FILE");
  command->add_flag("--json", flags->json, "one JSON object");
  add_sampler_flags(*command, flags->sampler);
  add_engine_flags(*command, flags->engine);
  command->footer("Example:\n  ravenwing profile --synthetic 2.9b:q4_k_m --tokens 512 --trace step.json");
  command->callback([flags] { run(*flags); });
}

}  // namespace ravenwing::apps
