// ravenwing tokenize: text to token ids and back.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "command.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

struct TokenizeFlags {
  std::string model, vocab, text;
  bool decode = false, bos = false, json = false;
};

Tokenizer tokenizer_of(const TokenizeFlags& flags) {
  if (!flags.model.empty()) return model_tokenizer(flags.model);
  return flags.vocab.empty() ? Tokenizer::world() : Tokenizer::from_file(flags.vocab);
}

void run(const TokenizeFlags& flags) {
  const std::string input = flags.text == "-" ? read_bytes("-") : flags.text;
  const Tokenizer tokenizer = tokenizer_of(flags);
  std::vector<uint32_t> ids = flags.decode ? parse_ids(input) : tokenizer.encode(input);
  const std::string text = flags.decode ? tokenizer.decode(ids) : input;
  if (flags.bos) ids.insert(ids.begin(), 0);
  if (flags.json) {
    nlohmann::ordered_json json = {{"ids", ids}, {"bytes", text.size()}};
    if (flags.decode) json["text"] = text;
    write_out(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  } else {
    write_out(flags.decode ? text : fmt::format("{}\n", fmt::join(ids, " ")));
  }
}

}  // namespace

void add_tokenize(CLI::App& program) {
  CLI::App* command = program.add_subcommand("tokenize", "turn text into token ids, or ids into text");
  auto flags = std::make_shared<TokenizeFlags>();
  command->add_option("TEXT", flags->text, "the text, or ids between blanks or commas; - reads standard input as it is")
      ->type_name("")
      ->required();
  command->add_option("-m,--model", flags->model, "model whose vocabulary is used; World's if left out")
      ->type_name("FILE");
  command->add_option("--vocab", flags->vocab, "vocabulary file in World's format")
      ->type_name("FILE")
      ->excludes("--model");
  CLI::Option* decode = command->add_flag("--decode", flags->decode, "ids to text, byte for byte");
  command->add_flag("--bos", flags->bos, "put id 0 first")->excludes(decode);
  command->add_flag("--json", flags->json, "one JSON object");
  command->footer(
      "Example:\n  ravenwing tokenize \"The raven said\"\n  ravenwing tokenize \"The raven said\" | ravenwing tokenize "
      "--decode -");
  command->callback([flags] { run(*flags); });
}

}  // namespace ravenwing::apps
