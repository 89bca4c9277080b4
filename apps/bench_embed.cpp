// ravenwing bench embed: a document's state, vectors of a few short texts, and of many.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>

#include "bench_commands.hpp"
#include "bench_measure.hpp"
#include "bench_print.hpp"
#include "command.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

using TextsOfIds = std::vector<std::vector<uint32_t>>;

struct EmbedBenchFlags {
  EngineFlags engine;
  std::string synthetic;
  uint32_t n_document = 212, n_texts = 1000, n_tokens = 64, repeat = 5;
  bool json = false;
};

/// Ids that are no text, the same in every run.
std::vector<uint32_t> made_up_ids(uint32_t n, uint32_t seed, uint32_t n_vocab) {
  std::vector<uint32_t> ids(n);
  for (uint32_t i = 0; i < n; ++i) ids[i] = 1 + (i * 2654435761u + seed * 40503u) % (n_vocab - 1);
  return ids;
}

struct EmbedFigure {
  std::string_view name, what;
  Readings ms;
};

class EmbedBench {
 public:
  EmbedBench(Engine& engine, const EmbedBenchFlags& flags) : engine_(engine), flags_(flags) {}

  std::vector<EmbedFigure> all() {
    const uint32_t n_vocab = engine_.model().n_vocab;
    const std::vector<uint32_t> document = made_up_ids(flags_.n_document, 0, n_vocab);
    TextsOfIds fields, many;
    for (const uint32_t n : {5u, 12u, 18u, 24u, 31u, 40u}) fields.push_back(made_up_ids(n, n, n_vocab));
    for (uint32_t i = 0; i < flags_.n_texts; ++i) many.push_back(made_up_ids(flags_.n_tokens, 100 + i, n_vocab));

    Session session = engine_.new_session();
    measure("document", "a document's state, on the GPU", [&] {
      session.reset();
      session.feed(document);
      session.wait();
    });
    measure("document_logits", "the same, and its last token's logits on the host", [&] {
      session.reset();
      session.logits(document);
    });
    measure("state_read", "its state to the host", [&] { session.state(); });
    const auto snapshot = std::make_shared<const SessionSnapshot>(session.snapshot());
    measure("state_write", "and back", [&] {
      session.restore(*snapshot);
      session.wait();
    });
    measure("state_share", "and back, from a snapshot that the session may keep", [&] {
      session.restore(snapshot);
      session.wait();
    });
    measure("reset", "the session begins anew", [&] {
      session.reset();
      session.wait();
    });
    measure("fields", "six texts of 5 to 40 tokens, in one call", [&] { engine_.embed(fields); });
    measure("fields_singly", "one by one", [&] {
      for (const auto& text : fields) engine_.embed({&text, 1});
    });
    measure("fields_mean", "mean of their tokens, in one call", [&] { engine_.embed(fields, of(Pooling::mean)); });
    measure("many", "many texts, last token", [&] { engine_.embed(many); });
    measure("many_mean", "mean", [&] { engine_.embed(many, of(Pooling::mean)); });
    return std::move(figures_);
  }

 private:
  static EmbeddingOptions of(Pooling pooling) {
    EmbeddingOptions options;
    options.pooling = pooling;
    return options;
  }

  void measure(std::string_view name, std::string_view what, const std::function<void()>& call) {
    EmbedFigure figure{name, what, {}};
    for (uint32_t i = 0; i <= flags_.repeat; ++i) {
      check_interrupted();
      const auto begin = std::chrono::steady_clock::now();
      call();
      const std::chrono::duration<double, std::milli> ms = std::chrono::steady_clock::now() - begin;
      if (i > 0) figure.ms.values.push_back(ms.count());  // the first one makes plans and compiles shaders
    }
    figures_.push_back(std::move(figure));
  }

  Engine& engine_;
  const EmbedBenchFlags& flags_;
  std::vector<EmbedFigure> figures_;
};

void run(EmbedBenchFlags flags) {
  const std::unique_ptr<SyntheticModel> synthetic = use_synthetic(flags.synthetic, flags.engine);
  Engine engine = open_engine(flags.engine, {.max_sessions = 33, .tuning = TuningMode::kept});
  const std::vector<EmbedFigure> figures = EmbedBench(engine, flags).all();
  nlohmann::ordered_json json = {
      {"device", engine.device().name}, {"texts", flags.n_texts}, {"tokens", flags.n_tokens}};
  std::string text;
  for (const EmbedFigure& figure : figures) {
    json[std::string(figure.name) + "_ms"] = json_of(figure.ms);
    text += fmt::format("{:<16}{:>10} ms   ({} to {})   {}\n", figure.name, short_number(figure.ms.median()),
                        short_number(figure.ms.least()), short_number(figure.ms.most()), figure.what);
  }
  const auto many = std::ranges::find(figures, "many", &EmbedFigure::name);
  const double texts_s = flags.n_texts * 1e3 / many->ms.median();
  json["texts_s"] = texts_s;
  text += fmt::format("{} texts of {} tokens: {} texts/s, {} tok/s\n", flags.n_texts, flags.n_tokens,
                      short_number(texts_s), short_number(texts_s * flags.n_tokens));
  write_out(flags.json ? json_line(json) : text);
}

}  // namespace

void add_bench_embed(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand("embed", "a document's state, and vectors of few and of many texts");
  auto flags = std::make_shared<EmbedBenchFlags>();
  const auto add_number = [&](const std::string& name, uint32_t& value, const std::string& what) {
    command->add_option(name, value, what)->type_name("N")->check(CLI::Range(1u, 1u << 20))->capture_default_str();
  };
  add_synthetic_flag(*command, flags->synthetic);
  add_number("--document", flags->n_document, "tokens of the document");
  add_number("--texts", flags->n_texts, "how many texts there are");
  add_number("--tokens", flags->n_tokens, "tokens of each");
  add_repeat_flag(*command, flags->repeat);
  command->add_flag("--json", flags->json, "one JSON object");
  add_engine_flags(*command, flags->engine);
  command->footer("Example:\n  ravenwing bench embed --synthetic 2.9b:q4_k_m");
  command->callback([flags, &bench] {
    refuse_flags_of(bench);
    run(*flags);
  });
}

}  // namespace ravenwing::apps
