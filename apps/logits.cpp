// ravenwing logits: logits and states as NumPy files, for comparing with other implementations.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <optional>

#include "command.hpp"
#include "npy.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

struct LogitsFlags {
  EngineFlags engine;
  std::optional<std::string> prompt, ids;
  std::string out, state_out;
  bool all = false;
};

void write_state(const std::filesystem::path& folder, const ModelInfo& model, const State& state) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(ErrorCode::bad_file, "cannot make the folder '{}': {}", folder.string(), error.message());
  const uint64_t n_layer = model.n_layer, n_embd = model.n_embd, head_size = model.head_size;
  write_npy(folder / "time_shift.npy", {n_layer, n_embd}, state.time_shift);
  write_npy(folder / "wkv.npy", {n_layer, model.n_head, head_size, head_size}, state.wkv);
  write_npy(folder / "channel_shift.npy", {n_layer, n_embd}, state.channel_shift);
}

/// Written all the same: the values are what one looks at then.
void warn_unless_finite(std::span<const float> logits) {
  if (!std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); }))
    write_message("warning: there are logits that are not finite");
}

void run(const LogitsFlags& flags) {
  if (flags.prompt.has_value() == flags.ids.has_value())
    fail(ErrorCode::bad_request, "give either -p TEXT or --ids IDS");
  std::vector<uint32_t> ids;
  if (flags.ids) ids = parse_ids(*flags.ids);
  Engine engine = open_engine(flags.engine);
  if (flags.prompt) ids = engine.tokenizer().encode(*flags.prompt);
  if (ids.empty()) fail(ErrorCode::bad_request, "there is no token to take the logits after");

  Session session = engine.new_session();
  const uint64_t n_vocab = engine.model().n_vocab;
  NpyWriter writer(flags.out, flags.all ? std::vector<uint64_t>{ids.size(), n_vocab} : std::vector<uint64_t>{n_vocab});
  if (flags.all) {
    session.logits_of_each(ids, [&](size_t i, std::span<const float> row) {
      writer.write(row);
      if (i + 1 == ids.size()) warn_unless_finite(row);
    });
  } else {
    const std::vector<float> row = session.logits(ids);
    writer.write(row);
    warn_unless_finite(row);
  }
  if (!flags.state_out.empty()) write_state(flags.state_out, engine.model(), session.state());
  writer.commit();
}

}  // namespace

void add_logits(CLI::App& program) {
  CLI::App* command = program.add_subcommand("logits", "write logits and states as NumPy files");
  auto flags = std::make_shared<LogitsFlags>();
  command->add_option("-p,--prompt", flags->prompt, "text to feed")->type_name("TEXT");
  command->add_option("--ids", flags->ids, "token ids to feed instead, between commas or blanks")->type_name("IDS");
  command->add_option("--out", flags->out, ".npy file for the logits after the last token: float32 [V]")
      ->type_name("FILE")
      ->required();
  command->add_flag("--all", flags->all, "the logits after every token: [T, V]");
  command->add_option("--state-out", flags->state_out, "folder for time_shift.npy, wkv.npy and channel_shift.npy")
      ->type_name("DIR");
  add_engine_flags(*command, flags->engine);
  command->footer(
      "Example:\n  ravenwing logits -m model.gguf -p \"The raven said\" --out logits.npy --state-out state");
  command->callback([flags] { run(*flags); });
}

}  // namespace ravenwing::apps
