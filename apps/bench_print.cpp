#include "bench_print.hpp"

#include "build_info.hpp"
#include "limits_text.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

/// The share that was found ready; nothing where nothing was asked for.
std::optional<double> hit_rate(const StepCacheUse::Count& count) {
  const double all = double(count.hits + count.misses);
  return all > 0 ? std::optional(double(count.hits) / all) : std::nullopt;
}

/// A step's rates, and what they are of the device's limits; 1: one of them is reached.
Json json_of(const std::optional<StepWork>& work, const std::optional<MeasuredLimits>& limits) {
  if (!work) return nullptr;
  const auto share = [&](uint64_t bytes, uint64_t flops) {
    return limits ? Json(limits->share(bytes, flops, work->us)) : Json(nullptr);
  };
  return {{"tokens", work->n_tokens},
          {"gpu_us", work->us},
          {"bytes", work->bytes},
          {"flops", work->flops},
          {"bytes_s", double(work->bytes) / work->us * 1e6},
          {"flops_s", double(work->flops) / work->us * 1e6},
          {"bytes_share", share(work->bytes, 0)},
          {"flops_share", share(0, work->flops)}};
}

/// "314.2 (314.1 to 314.5)"; "-" for none.
std::string cell_of(const Readings& readings) {
  if (readings.values.empty()) return "-";
  return fmt::format("{} ({} to {})", short_number(readings.median()), short_number(readings.least()),
                     short_number(readings.most()));
}

std::string cell_of(const std::optional<double>& value) { return value ? short_number(*value) : "-"; }

std::string settings_of(const BenchFlags& flags, const BenchResults& results) {
  std::string text = fmt::format("{}, {} tokens, chunk {}", results.device.tier, flags.n_tokens, results.chunk);
  if (flags.engine.exact) text += ", exact";
  if (flags.engine.states != "f32") text += ", states " + flags.engine.states;
  if (results.device.validated) text += ", checked";
  if (flags.engine.load != "stream") text += ", load " + flags.engine.load;
  return text;
}

}  // namespace

std::string short_number(double value) {
  return fmt::format("{:.{}f}", value, value >= 1000 ? 0 : value >= 100 ? 1 : value >= 10 ? 2 : 3);
}

double megabytes(uint64_t bytes) { return double(bytes) / 1e6; }

Json json_of(const Readings& readings) {
  if (readings.values.empty()) return nullptr;
  return {{"median", readings.median()}, {"min", readings.least()}, {"max", readings.most()}};
}

std::string json_line(const Json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string to_json(const BenchFlags& flags, const BenchResults& results) {
  const StepCacheUse& caches = results.caches;
  return json_line({{"model", results.model},
                    {"file_bytes", results.file_bytes},
                    {"commit", build_info().commit},
                    {"device", results.device.name},
                    {"driver", results.device.driver},
                    {"tier", results.device.tier},
                    {"fallback", results.device.fallback},
                    {"validated", results.device.validated},
                    {"exact", flags.engine.exact},
                    {"states", flags.engine.states},
                    {"load", flags.engine.load},
                    {"load_ms", results.load_ms},
                    {"load_warm_ms", json_of(results.warm_load_ms)},
                    {"load_cold_ms", json_of(results.cold_load_ms)},
                    {"first_token_ms", results.first_token_ms},
                    {"device_ms", results.device_ms},
                    {"first_prefill_ms", results.first_prefill_ms},
                    {"prompt_tokens", results.n_prompt},
                    {"tokens", flags.n_tokens},
                    {"chunk", results.chunk},
                    {"repeat", flags.repeat},
                    {"prefill_tok_s", json_of(results.prefill_tok_s)},
                    {"time_to_first_token_ms", json_of(results.prompt_to_token_ms)},
                    {"decode_tok_s", json_of(results.decode_tok_s)},
                    {"token_ms", {{"p50", results.token_p50_ms}, {"p99", results.token_p99_ms}}},
                    {"batch", flags.batch},
                    {"batch_decode_tok_s", json_of(results.batch_decode_tok_s)},
                    {"gpu_step_us", results.decode ? Json(results.decode->us) : Json(nullptr)},
                    {"gpu_busy", json_of(results.gpu_busy())},
                    {"decode_step", json_of(results.decode, results.limits)},
                    {"prefill_step", json_of(results.prefill, results.limits)},
                    {"limits", limits_json(results.limits)},
                    {"joules_per_token", json_of(results.joules_per_token)},
                    {"hit_rates",
                     {{"plans", json_of(hit_rate(caches.plans))},
                      {"pipelines", json_of(hit_rate(caches.pipelines))},
                      {"bind_groups", json_of(hit_rate(caches.bind_groups))}}},
                    {"buffers_made", caches.buffers_made},
                    {"pipeline_cache",
                     {{"hits", results.pipeline_cache.hits},
                      {"misses", results.pipeline_cache.misses},
                      {"damaged", results.pipeline_cache.damaged}}},
                    {"gpu_bytes",
                     {{"weights", results.gpu.weights},
                      {"state", results.gpu.state},
                      {"scratch", results.gpu.scratch},
                      {"peak", results.gpu.peak}}},
                    {"host_peak_bytes", results.host_peak_bytes},
                    {"host_anonymous_bytes", results.host_anonymous_bytes},
                    {"quality_hash", results.quality_hash},
                    {"quality_nats", results.quality_nats}});
}

std::string to_text(const BenchFlags& flags, const BenchResults& results) {
  const auto line = [](const std::string& what, const std::string& figure, const char* unit, const std::string& more) {
    return fmt::format("{:24}{:>10} {:7} {}\n", what, figure, unit, more);
  };
  const auto readings = [&](const std::string& what, const Readings& of, const char* unit) {
    if (of.values.empty()) return std::string();
    return line(what, short_number(of.median()), unit,
                fmt::format("({} to {})", short_number(of.least()), short_number(of.most())));
  };
  std::string text =
      fmt::format("{}, {:.0f} MB, on {} ({}), {}\n", printable(results.model), megabytes(results.file_bytes),
                  printable(results.device.name), printable(results.device.driver), settings_of(flags, results));
  text += line("load", short_number(results.load_ms), "ms",
               fmt::format("(and the device {} ms)", short_number(results.device_ms)));
  text += readings("load, shaders cached", results.warm_load_ms, "ms");
  if (results.cold_load_ms) text += line("load, all compiled", short_number(*results.cold_load_ms), "ms", "");
  text += readings(fmt::format("prefill of {}", results.n_prompt), results.prefill_tok_s, "tok/s");
  text += readings("to the first token", results.prompt_to_token_ms, "ms");
  text += readings("decode, 1 sequence", results.decode_tok_s, "tok/s");
  text += line("a token, p50", short_number(results.token_p50_ms), "ms",
               fmt::format("p99 {} ms", short_number(results.token_p99_ms)));
  text += readings(fmt::format("decode, {} sequences", flags.batch), results.batch_decode_tok_s, "tok/s");
  if (const auto busy = results.gpu_busy()) {
    text += line("GPU busy at decode", fmt::format("{:.0f}", 100 * *busy), "%",
                 fmt::format("{} us of a token", short_number(results.decode->us)));
  } else {
    text += line("GPU busy at decode", "n/a", "", "(it has no clock, or one that gives no sense)");
  }
  const auto step = [&](const std::string& what, const std::optional<StepWork>& work) {
    if (!work || !results.limits) return std::string();
    const auto percent = [&](uint64_t bytes, uint64_t flops) {
      return 100 * results.limits->share(bytes, flops, work->us);
    };
    return line(what, short_number(double(work->bytes) / work->us / 1e3), "GB/s",
                fmt::format("{:.1f} % of the limit, and {:.3g} TFLOP/s, {:.1f} %", percent(work->bytes, 0),
                            double(work->flops) / work->us / 1e6, percent(0, work->flops)));
  };
  text += step("GPU, a decode step", results.decode) + step("GPU, a prompt's step", results.prefill);
  if (results.joules_per_token) text += line("energy", short_number(*results.joules_per_token), "J", "a token");
  const auto percent = [](const StepCacheUse::Count& count) { return 100 * hit_rate(count).value_or(0); };
  text += line(
      "found ready", fmt::format("{:.1f}", percent(results.caches.plans)), "%",
      fmt::format("of plans, {:.1f} % of pipelines, {:.1f} % of bind groups; {} buffers made",
                  percent(results.caches.pipelines), percent(results.caches.bind_groups), results.caches.buffers_made));
  text += line("GPU memory, peak", short_number(megabytes(results.gpu.peak)), "MB",
               fmt::format("weights {:.1f}, states {:.1f}, scratch {:.1f}", megabytes(results.gpu.weights),
                           megabytes(results.gpu.state), megabytes(results.gpu.scratch)));
  text += line("host memory, peak", short_number(megabytes(results.host_peak_bytes)), "MB",
               fmt::format("of it not of files {:.1f}", megabytes(results.host_anonymous_bytes)));
  text += fmt::format("{:24}{}  {:.5f} nats a token\n", "quality", results.quality_hash, results.quality_nats);
  return text;
}

HistoryRow to_row(const BenchFlags& flags, const BenchResults& results) {
  HistoryRow row;
  row[kChange] = flags.change;
  row[kModel] = results.model;
  row[kCommit] = build_info().commit;
  row[kDevice] = results.device.name;
  row[kDriver] = results.device.driver;
  row[kSettings] = settings_of(flags, results);
  row[kLoad] =
      fmt::format("{} / {}", results.warm_load_ms.values.empty() ? "-" : short_number(results.warm_load_ms.median()),
                  cell_of(results.cold_load_ms));
  row[kPrompt] = std::to_string(results.n_prompt);
  row[kPrefill] = cell_of(results.prefill_tok_s);
  row[kDecode] = cell_of(results.decode_tok_s);
  row[kSequences] = std::to_string(flags.batch);
  row[kBatchDecode] = cell_of(results.batch_decode_tok_s);
  row[kFirstToken] = cell_of(results.prompt_to_token_ms);
  row[kTokenLatency] = fmt::format("{} / {}", short_number(results.token_p50_ms), short_number(results.token_p99_ms));
  row[kGpuBusy] = cell_of(results.gpu_busy());
  row[kEnergy] = cell_of(results.joules_per_token);
  row[kGpuMemory] = short_number(megabytes(results.gpu.peak));
  row[kHostMemory] = short_number(megabytes(results.host_peak_bytes));
  row[kQuality] = fmt::format("{}, {:.5f}", results.quality_hash, results.quality_nats);
  return row;
}

}  // namespace ravenwing::apps
