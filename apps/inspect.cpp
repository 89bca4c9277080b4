// ravenwing inspect: what a model file holds.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "command.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

std::string to_json(const ModelInfo& info) {
  nlohmann::ordered_json json = {{"path", info.path.string()},
                                 {"container", info.container},
                                 {"architecture", info.architecture},
                                 {"name", info.name},
                                 {"file_bytes", info.file_bytes},
                                 {"n_parameters", info.n_parameters},
                                 {"n_layer", info.n_layer},
                                 {"n_embd", info.n_embd},
                                 {"n_head", info.n_head},
                                 {"head_size", info.head_size},
                                 {"n_ffn", info.n_ffn},
                                 {"n_vocab", info.n_vocab},
                                 {"rank_w", info.rank_w},
                                 {"rank_a", info.rank_a},
                                 {"rank_v", info.rank_v},
                                 {"rank_g", info.rank_g},
                                 {"state_bytes", info.state_bytes},
                                 {"state_bytes_f16", info.state_bytes_f16},
                                 {"bytes_by_type", info.bytes_by_type},
                                 {"metadata", info.metadata},
                                 {"warnings", info.warnings}};
  for (const TensorInfo& tensor : info.tensors) {
    json["tensors"].push_back(
        {{"name", tensor.name}, {"type", tensor.type}, {"shape", tensor.shape}, {"n_bytes", tensor.n_bytes}});
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string megabytes(uint64_t bytes) { return fmt::format("{:.1f} MB", double(bytes) / 1e6); }

std::string to_text(const ModelInfo& info) {
  std::string text = fmt::format("{}: {}, {} parameters in {}\n", printable(info.path.string()), info.container,
                                 info.n_parameters, megabytes(info.file_bytes));
  const auto line = [&text](std::string_view key, const std::string& value) {
    text += fmt::format("  {:<14}{}\n", key, printable(value));
  };
  line("name", info.name.empty() ? "-" : info.name);
  line("architecture", info.architecture);
  line("layers", std::to_string(info.n_layer));
  line("width", fmt::format("{} = {} heads of {}", info.n_embd, info.n_head, info.head_size));
  line("ffn", std::to_string(info.n_ffn));
  line("vocabulary", std::to_string(info.n_vocab));
  line("ranks", fmt::format("w {}, a {}, v {}, g {}", info.rank_w, info.rank_a, info.rank_v, info.rank_g));
  line("state", fmt::format("{} for each sequence, {} with --states f16", megabytes(info.state_bytes),
                            megabytes(info.state_bytes_f16)));
  std::vector<std::string> types;
  for (const auto& [type, bytes] : info.bytes_by_type) types.push_back(type + " " + megabytes(bytes));
  line("weights", fmt::format("{}", fmt::join(types, ", ")));

  if (!info.metadata.empty()) text += "\nmetadata\n";
  for (const auto& [key, value] : info.metadata) text += fmt::format("  {} = {}\n", printable(key), printable(value));
  text += fmt::format("\n{} tensors\n", info.tensors.size());
  size_t width = 0;
  for (const TensorInfo& tensor : info.tensors) width = std::max(width, printable(tensor.name).size());
  for (const TensorInfo& tensor : info.tensors) {
    text += fmt::format("  {:<{}}  {:<5} [{}]\n", printable(tensor.name), width, tensor.type,
                        fmt::join(tensor.shape, ", "));
  }
  return text;
}

struct InspectFlags {
  std::string path;
  bool json = false, check = false;
};

void run(const InspectFlags& flags) {
  const ModelInfo info = inspect(flags.path);
  write_out(flags.json ? to_json(info) : to_text(info));
  if (!flags.check) {
    for (const std::string& warning : info.warnings) write_message("warning: {}", warning);
    return;
  }
  Progress progress("checking");
  const std::vector<std::string> names = find_nonfinite_weights(flags.path, [&](uint64_t done, uint64_t total) {
    check_interrupted();
    progress.update(done, total);
  });
  progress.finish();
  if (!names.empty()) fail(ErrorCode::bad_file, "'{}': NaN or infinity in {}", flags.path, fmt::join(names, ", "));
}

}  // namespace

void add_inspect(CLI::App& program) {
  CLI::App* command = program.add_subcommand("inspect", "show shapes, types and metadata of a model file");
  auto flags = std::make_shared<InspectFlags>();
  command->add_option("FILE", flags->path, ".gguf or .safetensors")->type_name("")->required();
  command->add_flag("--json", flags->json, "one JSON object");
  command->add_flag("--check", flags->check, "read every weight as well, and fail if one is NaN or infinite");
  command->footer("Example:\n  ravenwing inspect model.gguf");
  command->callback([flags] { run(*flags); });
}

}  // namespace ravenwing::apps
