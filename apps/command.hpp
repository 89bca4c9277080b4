// The sub-commands, each in a file of its own, and what several of them share.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ravenwing/engine.hpp"
#include "ravenwing/synthetic.hpp"

namespace CLI {
class App;
}

namespace ravenwing::apps {

// Each adds its sub-command to the program; the command runs at the end of parsing and throws what goes wrong.
void add_generate(CLI::App& program);
void add_chat(CLI::App& program);
void add_bench(CLI::App& program);
void add_tune(CLI::App& program);
void add_profile(CLI::App& program);
void add_inspect(CLI::App& program);
void add_devices(CLI::App& program);
void add_doctor(CLI::App& program);
void add_tokenize(CLI::App& program);
void add_perplexity(CLI::App& program);
void add_logits(CLI::App& program);
void add_embed(CLI::App& program);
void add_completion(CLI::App& program);
void add_man(CLI::App& program);

template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

/// What every command that runs a model takes.
struct EngineFlags {
  std::string model, vocab, device, tier;  // as in EngineOptions; no model: the demo model
  std::string load = "stream", states = "f32";
  bool exact = false, safe = false, no_persistent = false, no_mmap = false, no_pipeline_cache = false;
  bool no_tuning = false;
};
/// Whether there is a -m; a command that takes models as its arguments has none.
enum class ModelFlag { yes, no };
void add_engine_flags(CLI::App& command, EngineFlags& flags, ModelFlag model = ModelFlag::yes);
/// All of SamplerParams but the seed.
void add_sampler_flags(CLI::App& command, SamplerParams& sampler);
void add_device_flag(CLI::App& command, std::string& device);
void add_states_flag(CLI::App& command, std::string& states);

/// The model of --synthetic SPEC, in place of that of -m; null where `spec` is "". It must outlive the engine.
std::unique_ptr<SyntheticModel> use_synthetic(const std::string& spec, EngineFlags& flags);

/// What add_states_flag() took.
StateStorage state_storage_of(std::string_view states);

/// `options` with what the flags say.
EngineOptions engine_options(const EngineFlags& flags, EngineOptions options);

/// Opens the device and loads the model, with a progress bar where loading takes long, and says so where a CPU has to
/// stand in for the GPU. Ctrl-C ends this and every later call of the engine.
/// `options`: chunk, max_sessions and, but for --no-tuning, tuning are taken from it.
Engine open_engine(const EngineFlags& flags, EngineOptions options = {.max_sessions = 1});

inline constexpr const char kNoDevice[] =
    "no GPU and no software Vulkan driver found; `make setup` fetches the software driver";

/// A paragraph on an adapter, as `devices` and `doctor` show it.
std::string describe(size_t index, const DeviceInfo& device);

/// Numbers between blanks and commas.
std::vector<uint32_t> parse_ids(std::string_view text);

}  // namespace ravenwing::apps
