// The flags that fill SamplerParams. Ranges are SamplerParams::validate's, which names them.
#include <CLI/CLI.hpp>
#include <charconv>
#include <map>

#include "command.hpp"

namespace ravenwing::apps {
namespace {

/// ID=VALUE.
void add_bias(std::map<uint32_t, float>& biases, const std::string& text) {
  const size_t equals = text.find('=');
  const char* end = text.data() + text.size();
  const char* after_id = text.data() + std::min(equals, text.size());
  uint32_t id = 0;
  float bias = 0;
  const bool read = equals != text.npos && std::from_chars(text.data(), after_id, id).ptr == after_id && equals > 0 &&
                    std::from_chars(after_id + 1, end, bias).ptr == end && after_id + 1 != end;
  if (!read) fail(ErrorCode::bad_request, "--logit-bias '{}' is not ID=VALUE", text);
  if (!biases.emplace(id, bias).second) fail(ErrorCode::bad_request, "--logit-bias names id {} twice", id);
}

template <typename T>
void add_number(CLI::App& command, const std::string& name, T& value, const std::string& type,
                const std::string& description) {
  command.add_option(name, value, description)->type_name(type)->capture_default_str()->group("Sampling");
}

void add_filters(CLI::App& command, SamplerParams& sampler) {
  add_number(command, "--temperature,--temp", sampler.temperature, "T", "0: always the most probable token");
  add_number(command, "--top-k", sampler.top_k, "K", "choose among the K most probable; 0: all");
  add_number(command, "--top-p", sampler.top_p, "P", "choose among the most probable that have P together; 1: all");
  add_number(command, "--min-p", sampler.min_p, "P", "choose among those P times as probable as the first; 0: all");
  add_number(command, "--typical-p", sampler.typical_p, "P",
             "choose among those of the most typical surprise that have P together; 1: all");
  const std::map<std::string, SamplerOrder> orders = {{"rwkv", SamplerOrder::rwkv}, {"llama", SamplerOrder::llama}};
  command.add_option("--sampler-order", sampler.order, "order of the filters (docs/sampling.md) [rwkv]")
      ->type_name("ORDER")
      ->transform(CLI::CheckedTransformer(orders).description("{rwkv,llama}"))
      ->group("Sampling");
  add_number(command, "--xtc-probability", sampler.xtc_probability, "P",
             "how often XTC takes away the most probable tokens; 0: never");
  add_number(command, "--xtc-threshold", sampler.xtc_threshold, "P",
             "those as probable as P, but for the last of them");
  add_number(command, "--mirostat-tau", sampler.mirostat_tau, "BITS",
             "mirostat 2 instead of the filters: surprise to aim at; 0: off");
  add_number(command, "--mirostat-eta", sampler.mirostat_eta, "ETA", "how fast mirostat steers");
}

void add_penalties(CLI::App& command, SamplerParams& sampler) {
  add_number(command, "--presence-penalty", sampler.presence_penalty, "A",
             "taken from the logit of a token generated before");
  add_number(command, "--frequency-penalty", sampler.frequency_penalty, "A", "taken for each time it was generated");
  add_number(command, "--repetition-penalty", sampler.repetition_penalty, "A",
             "divides the logit of a token generated before, multiplies a negative one");
  add_number(command, "--penalty-decay", sampler.penalty_decay, "D", "of the counts of tokens, with every token");
  command
      .add_option_function<std::vector<std::string>>(
          "--logit-bias",
          [&sampler](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) add_bias(sampler.logit_bias, text);
          },
          "add VALUE to the logit of a token; may be repeated")
      ->type_name("ID=VALUE")
      ->allow_extra_args(false)
      ->group("Sampling");
  add_number(command, "--dry-multiplier", sampler.dry_multiplier, "M",
             "DRY: taken from a token that would repeat a stretch of the text; 0: off");
  add_number(command, "--dry-base", sampler.dry_base, "B", "times this for each further token of the stretch");
  add_number(command, "--dry-allowed-length", sampler.dry_allowed_length, "N", "shorter stretches are free");
  add_number(command, "--dry-range", sampler.dry_range, "N", "how many of the last tokens DRY looks at");
  command
      .add_option("--dry-sequence-breaker", sampler.dry_sequence_breakers,
                  "no stretch goes over a token with this text; may be repeated [line feed : \" *]")
      ->type_name("TEXT")
      ->allow_extra_args(false)
      ->group("Sampling");
}

}  // namespace

void add_sampler_flags(CLI::App& command, SamplerParams& sampler) {
  add_filters(command, sampler);
  add_penalties(command, sampler);
}

}  // namespace ravenwing::apps
