// ravenwing perplexity: how well a model foresees a text.
#include <CLI/CLI.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "command.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

struct PerplexityFlags {
  EngineFlags engine;
  std::string file;
  std::optional<uint32_t> chunk;
  bool json = false;
};

void run(const PerplexityFlags& flags) {
  const std::string text = read_bytes(flags.file);
  Engine engine = open_engine(flags.engine, {.chunk = flags.chunk, .max_sessions = 1});
  const std::vector<uint32_t> ids = engine.tokenizer().encode(text);
  if (ids.size() < 2)
    fail(ErrorCode::bad_file, "the text has {} tokens, at least 2 are needed: the first is not scored", ids.size());

  Progress progress("scoring");
  const std::vector<double> nats =
      engine.new_session().score(ids, [&](size_t n_scored) { progress.update(n_scored, ids.size()); });
  progress.finish();
  const double sum = std::accumulate(nats.begin(), nats.end(), 0.0);
  const double mean = sum / double(nats.size());
  // Of the whole text, though its first token is not scored: the figure that others give.
  const double bits_per_byte = sum / std::log(2.0) / double(text.size());
  if (flags.json) {
    const nlohmann::ordered_json json = {{"model", engine.model().path.string()},
                                         {"tokens", nats.size()},
                                         {"nats_per_token", mean},
                                         {"perplexity", std::exp(mean)},
                                         {"bits_per_byte", bits_per_byte}};
    write_out(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  } else {
    write_out(fmt::format("{:.4f} nats/token, perplexity {:.4f}, {:.4f} bits/byte ({} tokens scored)\n", mean,
                          std::exp(mean), bits_per_byte, nats.size()));
  }
}

}  // namespace

void add_perplexity(CLI::App& program) {
  CLI::App* command = program.add_subcommand("perplexity", "score a text: nats per token, perplexity, bits per byte");
  auto flags = std::make_shared<PerplexityFlags>();
  command->add_option("-f,--file", flags->file, "the text; - is standard input")->type_name("FILE")->required();
  command
      ->add_option("--chunk", flags->chunk,
                   "tokens of one step, as tuned, else 512, if left out; the state runs on over the whole text")
      ->type_name("N")
      ->check(CLI::Range(1u, EngineOptions::kChunkMax));
  command->add_flag("--json", flags->json, "one JSON object");
  add_engine_flags(*command, flags->engine);
  command->footer("Example:\n  ravenwing perplexity -m model.gguf -f text.txt");
  command->callback([flags] { run(*flags); });
}

}  // namespace ravenwing::apps
