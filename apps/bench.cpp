// ravenwing bench: what this machine does with a model.
#include <CLI/CLI.hpp>
#include <memory>

#include "bench_commands.hpp"
#include "bench_history.hpp"
#include "bench_measure.hpp"
#include "bench_print.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

void check(const BenchFlags& flags) {
  if (!flags.synthetic.empty() && !flags.engine.model.empty())
    fail(ErrorCode::bad_request, "give either -m FILE or --synthetic SHAPE:QUANT");
  if (!flags.write.empty() && flags.synthetic.empty())
    fail(ErrorCode::bad_request, "--write needs --synthetic SHAPE:QUANT");
  if (flags.titled) check_history(flags.file, flags.title);
}

void run(BenchFlags& flags) {
  check(flags);
  if (!flags.write.empty()) {
    write_synthetic_model(flags.synthetic, flags.write);
    flags.engine.model = flags.write;
  }
  const auto synthetic = use_synthetic(flags.write.empty() ? flags.synthetic : "", flags.engine);
  const BenchResults results = measure(flags);
  // First: who reads the output may go away.
  if (flags.titled) append_to_history(flags.file, flags.title, to_row(flags, results));
  write_out(flags.json ? to_json(flags, results) : to_text(flags, results));
}

void add_history_flags(CLI::App& command, BenchFlags& flags) {
  CLI::Option* title =
      command.add_option("--title", flags.title, "add the figures to a table under this heading")->type_name("TITLE");
  CLI::Option* change =
      command.add_option("--change", flags.change, "what was changed since the row before, for --title")
          ->type_name("TEXT");
  title->needs(change);
  change->needs(title);
  command.add_option("--file", flags.file, "the markdown file that --title adds to")
      ->type_name("FILE")
      ->needs(title)
      ->capture_default_str();
}

}  // namespace

void refuse_flags_of(const CLI::App& bench) {
  for (const CLI::Option* option : bench.get_options()) {
    if (option->count() > 0)
      fail(ErrorCode::bad_request, "{} must stand behind `{}`", option->get_name(),
           bench.get_subcommands().front()->get_name());
  }
}

void add_synthetic_flag(CLI::App& command, std::string& synthetic) {
  command.add_option("--synthetic", synthetic, "random weights of a real shape, made in memory: 2.9b:q4_k_m")
      ->type_name("SHAPE:QUANT");
}

void add_prompt_tokens_flag(CLI::App& command, uint32_t& n_prompt) {
  command.add_option("--prompt-tokens", n_prompt, "length of the prompt")
      ->type_name("N")
      ->check(CLI::Range(1u, 1u << 20))
      ->capture_default_str();
}

void add_tokens_flag(CLI::App& command, uint32_t& n_tokens) {
  command.add_option("-n,--tokens", n_tokens, "tokens to generate")
      ->type_name("N")
      ->check(CLI::Range(2u, 1u << 20))
      ->capture_default_str();
}

void add_repeat_flag(CLI::App& command, uint32_t& repeat) {
  command.add_option("--repeat", repeat, "readings of each figure; the median counts")
      ->type_name("R")
      ->check(CLI::Range(1u, 1000u))
      ->capture_default_str();
}

void add_bench(CLI::App& program) {
  CLI::App* command = program.add_subcommand("bench", "measure speed, memory and quality");
  auto flags = std::make_shared<BenchFlags>();
  add_synthetic_flag(*command, flags->synthetic);
  command->add_option("--write", flags->write, "write the synthetic model to this file and load it from there")
      ->type_name("FILE");
  add_history_flags(*command, *flags);
  add_prompt_tokens_flag(*command, flags->n_prompt);
  command->add_option("-p,--prompt", flags->prompt, "a prompt of your own instead of --prompt-tokens any")
      ->type_name("TEXT")
      ->check([](const std::string& text) { return text.empty() ? "it is empty" : std::string(); }, "")
      ->excludes("--prompt-tokens");
  add_tokens_flag(*command, flags->n_tokens);
  command->add_option("--batch", flags->batch, "sequences that decode together; 1: leave that out")
      ->type_name("B")
      ->check(CLI::Range(1u, 4096u))
      ->capture_default_str();
  command->add_option("--chunk", flags->chunk, "tokens of one step at most; as tuned, else 512, if left out")
      ->type_name("C")
      ->check(CLI::Range(1u, EngineOptions::kChunkMax));
  add_repeat_flag(*command, flags->repeat);
  command->add_flag("--json", flags->json, "one JSON object");
  add_engine_flags(*command, flags->engine);
  add_bench_sweep(*command);
  add_bench_submits(*command);
  add_bench_embed(*command);
  add_bench_formats(*command);
  add_bench_kernels(*command);
  command->footer(
      "Example:\n  ravenwing bench --synthetic 2.9b:q4_k_m --batch 32\n"
      "  ravenwing bench -m FILE --title \"Faster head\" --change \"before\"");
  command->callback([flags, command] {
    if (!command->get_subcommands().empty()) return;  // they have run
    flags->titled = command->count("--title") > 0;
    run(*flags);
  });
}

}  // namespace ravenwing::apps
