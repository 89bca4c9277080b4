// What several commands share: flags and opening a model.
#include "command.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <memory>

#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

LoadMode load_mode_of(std::string_view text) {
  for (const LoadMode mode : {LoadMode::full, LoadMode::lazy}) {
    if (text == name(mode)) return mode;
  }
  return LoadMode::stream;
}

}  // namespace

void add_device_flag(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "adapter: its index or part of its name (see `devices`), or `software`")
      ->type_name("N|NAME|software");
}

void add_states_flag(CLI::App& command, std::string& states) {
  command.add_option("--states", states, "wkv states in GPU memory: f32, or f16 for half the memory and traffic")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"f32", "f16"}))
      ->capture_default_str();
}

StateStorage state_storage_of(std::string_view states) {
  return states == name(StateStorage::f16) ? StateStorage::f16 : StateStorage::f32;
}

void add_engine_flags(CLI::App& command, EngineFlags& flags, ModelFlag model) {
  if (model == ModelFlag::yes) {
    command
        .add_option("-m,--model", flags.model, ".gguf or .safetensors of an RWKV-7 model; the demo model if left out")
        ->type_name("FILE");
  }
  command.add_option("--vocab", flags.vocab, "vocabulary file in World's format instead of the model's own")
      ->type_name("FILE");
  add_device_flag(command, flags.device);
  command.add_option("--tier", flags.tier, "use no more of the adapter than this tier: T0, T1, T2")
      ->type_name("TIER")
      ->check(CLI::IsMember({"T0", "T1", "T2"}));
  command.add_flag("--exact", flags.exact, "the same bits whatever the chunking; slower");
  add_states_flag(command, flags.states);
  command.add_flag("--safe", flags.safe, "keep WebGPU's checks of every call and index; slower");
  command.add_option("--load", flags.load, "weights: stream to the GPU, full: into memory first, lazy: when needed")
      ->type_name("MODE")
      ->check(CLI::IsMember({"stream", "full", "lazy"}))
      ->capture_default_str();
  command.add_flag("--no-persistent", flags.no_persistent,
                   "decode in many dispatches where one would do that waits for itself");
  command.add_flag("--no-mmap", flags.no_mmap, "read the model's header instead of mapping it");
  command.add_flag("--no-pipeline-cache", flags.no_pipeline_cache, "compile all shaders anew, and keep none");
  command.add_flag("--no-tuning", flags.no_tuning,
                   "the built-in kernels whatever `ravenwing tune` found; measure nothing");
}

std::unique_ptr<SyntheticModel> use_synthetic(const std::string& spec, EngineFlags& flags) {
  if (spec.empty()) return nullptr;
  if (!flags.model.empty()) fail(ErrorCode::bad_request, "give either -m FILE or --synthetic SHAPE:QUANT");
  auto synthetic = std::make_unique<SyntheticModel>(spec);
  flags.model = synthetic->path();
  return synthetic;
}

EngineOptions engine_options(const EngineFlags& flags, EngineOptions options) {
  options.model = flags.model.empty() ? demo_model_path() : std::filesystem::path(flags.model);
  options.vocab = flags.vocab;
  options.device = flags.device;
  options.tier = flags.tier;
  options.exact = flags.exact;
  options.state_storage = state_storage_of(flags.states);
  options.safe = flags.safe;
  options.pipeline_cache = !flags.no_pipeline_cache;
  options.load = load_mode_of(flags.load);
  options.mmap = !flags.no_mmap;
  options.persistent = !flags.no_persistent;
  options.on_recovery = [](const std::string& what) { write_message("warning: {}", what); };
  if (flags.no_tuning) options.tuning = TuningMode::off;
  options.cancel = &interrupted();
  return options;
}

Engine open_engine(const EngineFlags& flags, EngineOptions options) {
  options = engine_options(flags, std::move(options));
  // Shared: a lazy engine goes on loading when this function has returned.
  auto progress = std::make_shared<Progress>("loading");
  options.on_progress = [progress](uint64_t done, uint64_t total) {
    if (done < total)
      progress->update(done, total);
    else
      progress->finish();
  };
  Engine engine(options);
  for (const std::string& warning : engine.model().warnings) write_message("warning: {}", warning);
  if (!engine.device().fallback.empty())
    write_message("warning: {}: {} (`ravenwing doctor -m FILE` tests again)", engine.device().name,
                  engine.device().fallback);
  if (const std::string tuning = engine.tuning().warning; !tuning.empty()) write_message("warning: {}", tuning);
  if (engine.device().software && flags.device.empty()) {
    write_message("no GPU found, using software Vulkan ({}): slow", engine.device().name);
  }
  return engine;
}

std::vector<uint32_t> parse_ids(std::string_view text) {
  constexpr std::string_view kSeparators = ", \t\r\n";
  std::vector<uint32_t> ids;
  for (size_t begin = text.find_first_not_of(kSeparators); begin != text.npos;
       begin = text.find_first_not_of(kSeparators, begin)) {
    const size_t end = std::min(text.find_first_of(kSeparators, begin), text.size());
    uint32_t id = 0;
    const auto [rest, error] = std::from_chars(text.data() + begin, text.data() + end, id);
    if (error != std::errc() || rest != text.data() + end) {
      fail(ErrorCode::bad_request, "'{}' is no token id: ids are whole numbers between blanks or commas",
           text.substr(begin, std::min<size_t>(end - begin, 40)));
    }
    ids.push_back(id);
    begin = end;
  }
  return ids;
}

}  // namespace ravenwing::apps
