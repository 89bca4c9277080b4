// ravenwing generate: continues a prompt.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "command.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

struct GenerateFlags {
  EngineFlags engine;
  std::optional<std::string> prompt, file;
  std::optional<uint64_t> seed;
  GenerateOptions options;
  bool echo = false, json = false;
};

std::string prompt_of(const GenerateFlags& flags) {
  if (flags.prompt && flags.file) fail(ErrorCode::bad_request, "give either -p PROMPT or -f FILE");
  if (flags.prompt) return *flags.prompt;
  if (!flags.file && stdin_is_terminal())
    fail(ErrorCode::bad_request, "no prompt: give -p PROMPT, -f FILE or standard input");
  return read_bytes(flags.file.value_or("-"));
}

double per_second(uint64_t n, double ms) { return ms > 0 ? double(n) * 1000 / ms : 0; }

nlohmann::ordered_json to_json(const TokenLogprob& token) { return {{"id", token.id}, {"logprob", token.logprob}}; }

nlohmann::ordered_json to_json(const TokenLogprobs& logprobs) {
  nlohmann::ordered_json json = to_json(logprobs.token);
  json["top"] = nlohmann::ordered_json::array();
  for (const TokenLogprob& token : logprobs.top) json["top"].push_back(to_json(token));
  return json;
}

nlohmann::ordered_json to_json(const PipelineCacheUse& use) {
  return {{"hits", use.hits}, {"misses", use.misses}, {"damaged", use.damaged}};
}

std::string to_json(const Engine& engine, const Completion& completion, const GenerateOptions& options) {
  const Timings& timings = completion.timings;
  nlohmann::ordered_json json = {{"text", completion.text},
                                 {"ids", completion.ids},
                                 {"finish_reason", name(completion.finish_reason)},
                                 {"seed", options.sampler.seed},
                                 {"model", engine.model().path.string()},
                                 {"device", engine.device().name},
                                 {"tier", engine.device().tier},
                                 {"fallback", engine.device().fallback},
                                 {"validated", engine.device().validated},
                                 {"timings",
                                  {{"load_ms", engine.load_ms()},
                                   {"device_ms", engine.device_ms()},
                                   {"first_token_ms", engine.first_token_ms()},
                                   {"prefill_tokens", timings.prefill_tokens},
                                   {"prefill_tok_s", per_second(timings.prefill_tokens, timings.prefill_ms)},
                                   {"decode_tokens", timings.decode_tokens},
                                   {"decode_tok_s", per_second(timings.decode_tokens, timings.decode_ms)}}},
                                 {"pipeline_cache", to_json(engine.pipeline_cache())}};
  if (options.logprobs) json["logprobs"] = nlohmann::ordered_json::array();
  for (const TokenLogprobs& logprobs : completion.logprobs) json["logprobs"].push_back(to_json(logprobs));
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void write_timings(const Engine& engine, const Timings& timings, uint64_t seed) {
  write_message(
      "load {:.0f} ms (and the device {:.0f} ms), first token after {:.0f} ms, prefill {} tokens at {:.1f} tok/s, "
      "decode "
      "{} tokens at {:.1f} tok/s, {} {}, seed {}",
      engine.load_ms(), engine.device_ms(), engine.first_token_ms(), timings.prefill_tokens,
      per_second(timings.prefill_tokens, timings.prefill_ms), timings.decode_tokens,
      per_second(timings.decode_tokens, timings.decode_ms), engine.device().name, engine.device().tier, seed);
}

void run(GenerateFlags& flags) {
  GenerateOptions& options = flags.options;
  // 32 bits: short enough to be typed again, and exact in every JSON reader.
  options.sampler.seed = flags.seed ? *flags.seed : std::random_device{}();
  if (options.logprobs && !flags.json) fail(ErrorCode::bad_request, "--logprobs needs --json");
  options.sampler.validate();  // before a minute may go into loading
  const std::string prompt = prompt_of(flags);
  Engine engine = open_engine(flags.engine);
  Session session = engine.new_session();
  const std::vector<uint32_t> ids = engine.tokenizer().encode(prompt);

  bool at_line_start = !flags.echo || prompt.ends_with('\n');
  if (!flags.json) {
    if (flags.echo) write_out(prompt);
    options.on_text = [&at_line_start](std::string_view text) {
      write_out(text);
      if (!text.empty()) at_line_start = text.ends_with('\n');
      return true;
    };
  }
  Completion completion;
  try {
    completion = session.generate(ids, options);
  } catch (const Error&) {
    // What was written stays; the message begins a line of its own.
    if (!at_line_start && stdout_is_terminal()) write_out("\n");
    throw;
  }
  if (flags.json && flags.echo) completion.text = prompt + completion.text;
  if (flags.json) write_out(to_json(engine, completion, options) + "\n");
  if (!at_line_start) write_out("\n");
  write_timings(engine, completion.timings, options.sampler.seed);
}

}  // namespace

void add_generate(CLI::App& program) {
  CLI::App* command = program.add_subcommand("generate", "continue a prompt");
  auto flags = std::make_shared<GenerateFlags>();
  command->add_option("-p,--prompt", flags->prompt, "text to continue; else -f or standard input")->type_name("TEXT");
  command->add_option("-f,--file", flags->file, "file that holds the prompt; - is standard input")->type_name("FILE");
  command->add_option("-n,--max-tokens", flags->options.max_tokens, "tokens to generate at most")
      ->type_name("N")
      ->capture_default_str();
  add_sampler_flags(*command, flags->options.sampler);
  command->add_option("-s,--seed", flags->seed, "equal seeds give equal texts; random if left out")->type_name("N");
  command->add_option("--stop", flags->options.stop, "end before this text; may be repeated")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command->add_flag("--echo", flags->echo, "write the prompt too");
  command->add_flag("--json", flags->json, "one JSON object at the end instead of text as it comes");
  command
      ->add_option("--logprobs", flags->options.logprobs, "with --json: ln p of every token and of the N most probable")
      ->type_name("N")
      ->check(CLI::Range(0, 20));
  add_engine_flags(*command, flags->engine);
  command->footer(
      "Example:\n  ravenwing generate -m model.gguf -p \"The raven said\" -n 100 --temperature 0.8 --top-p 0.9");
  command->callback([flags] { run(*flags); });
}

}  // namespace ravenwing::apps
