// ravenwing embed: vectors of many texts, from lines of JSON to lines of JSON or a NumPy file.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "command.hpp"
#include "npy.hpp"
#include "part_file.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

constexpr size_t kTextsTogether = 512;

struct EmbedFlags {
  EngineFlags engine;
  std::string prompt, file, out, pooling = "last", prefix, field = "text";
  std::optional<std::string> closing;
  int32_t layer = -1;
  uint32_t sessions = 32;
  bool raw = false, plain = false, resume = false;
};

struct Line {
  nlohmann::ordered_json id;  // null: none
  std::string text;
};

/// Lines of a file or of standard input, each a text.
class Lines {
 public:
  explicit Lines(const EmbedFlags& flags) : flags_(flags) {
    if (flags.file == "-") return;
    file_.open(flags.file, std::ios::binary);
    std::error_code error;
    n_bytes_ = std::filesystem::file_size(flags.file, error);
    if (!file_ || error) fail(ErrorCode::bad_file, "cannot read '{}'", flags.file);
  }

  /// The next one that is not empty; none at the end.
  std::optional<Line> next() {
    std::istream& in = flags_.file == "-" ? std::cin : file_;
    for (std::string bytes; std::getline(in, bytes);) {
      ++number_;
      n_read_ += bytes.size() + 1;
      if (!bytes.empty() && bytes.back() == '\r') bytes.pop_back();
      if (flags_.plain) return Line{nullptr, std::move(bytes)};
      if (bytes.find_first_not_of(" \t") != std::string::npos) return parsed(bytes);
    }
    if (in.bad()) fail(ErrorCode::bad_file, "cannot read '{}'", flags_.file);
    return std::nullopt;
  }

  uint64_t n_read() const { return n_read_; }
  uint64_t n_bytes() const { return n_bytes_; }  // 0: not known

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorCode::bad_file,
         "{}, line {}: {}: each line is a text in quotes or an object with \"{}\" (--field), or any text with --plain",
         flags_.file == "-" ? "standard input" : fmt::format("'{}'", flags_.file), number_, what, flags_.field);
  }

  Line parsed(const std::string& bytes) const {
    nlohmann::ordered_json json;
    try {
      json = nlohmann::ordered_json::parse(bytes);
    } catch (const nlohmann::json::exception&) {
      refuse("no JSON in UTF-8");
    }
    if (json.is_string()) return {nullptr, json.get<std::string>()};
    if (!json.is_object() || !json.contains(flags_.field) || !json[flags_.field].is_string()) refuse("no text");
    return {json.contains("id") ? json["id"] : nlohmann::ordered_json(), json[flags_.field].get<std::string>()};
  }

  const EmbedFlags& flags_;
  std::ifstream file_;
  uint64_t number_ = 0, n_read_ = 0, n_bytes_ = 0;
};

std::string to_json(size_t index, const Line& line, std::span<const float> vector) {
  std::string text = fmt::format("{{\"index\":{}", index);
  if (!line.id.is_null()) text += ",\"id\":" + line.id.dump();
  text += ",\"embedding\":[";
  for (const char* comma = ""; const float value : vector) {
    fmt::format_to(std::back_inserter(text), "{}{}", comma, value);
    comma = ",";
  }
  return text + "]}\n";
}

EmbeddingOptions options_of(const EmbedFlags& flags) {
  EmbeddingOptions options;
  for (const Pooling pooling : {Pooling::last, Pooling::mean, Pooling::state}) {
    if (flags.pooling == name(pooling)) options.pooling = pooling;
  }
  options.layer = flags.layer;
  if (flags.closing) options.closing = *flags.closing;
  options.normalize = !flags.raw;
  return options;
}

/// What must be the same for a part of the output to be gone on with.
std::string settings_of(const EmbedFlags& flags, const ModelInfo& model) {
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(model.path, error);
  return nlohmann::ordered_json{{"model", model.path.filename().string()},
                                {"model_bytes", error ? 0 : bytes},
                                {"input", flags.file},
                                {"plain", flags.plain},
                                {"field", flags.field},
                                {"pooling", flags.pooling},
                                {"layer", flags.layer},
                                {"raw", flags.raw},
                                {"prefix", flags.prefix},
                                {"closing", options_of(flags).closing},
                                {"exact", flags.engine.exact}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Where vectors go: standard output, or a file of which a part stays if the program ends early.
class Output {
 public:
  Output(const EmbedFlags& flags, const Engine& engine)
      : path_(flags.out), row_bytes_(engine.embedding_size(options_of(flags).pooling) * sizeof(float)) {
    if (path_.empty()) return;
    is_npy_ = path_.extension() == ".npy";
    part_.emplace(path_, settings_of(flags, engine.model()), flags.resume);
    n_done_ = is_npy_ ? part_->keep_rows(row_bytes_) : part_->keep_lines();
  }

  size_t n_done() const { return n_done_; }
  const std::filesystem::path& path() const { return path_; }

  void write(const Line& line, std::span<const float> vector) {
    if (is_npy_) {
      part_->write(vector.data(), vector.size_bytes());
    } else {
      const std::string text = to_json(n_done_, line, vector);
      part_ ? part_->write(text.data(), text.size()) : write_out(text);
    }
    ++n_done_;
  }
  void flush() {
    if (part_) part_->flush();
  }

  void commit() {
    if (!part_) return;
    flush();
    if (!is_npy_) return part_->commit();
    NpyWriter writer(path_, {n_done_, row_bytes_ / sizeof(float)});
    part_->read_rows(row_bytes_, [&](std::span<const float> row) { writer.write(row); });
    writer.commit();
    part_->remove();
  }

 private:
  std::filesystem::path path_;
  uint64_t row_bytes_;
  bool is_npy_ = false;
  std::optional<PartFile> part_;
  size_t n_done_ = 0;
};

void embed_lines(Engine& engine, const EmbedFlags& flags, Session* prefix) {
  Lines lines(flags);
  Output output(flags, engine);
  for (size_t i = 0; i < output.n_done(); ++i) {
    if (!lines.next())
      fail(ErrorCode::bad_file, "there are fewer texts than '{}.part' has vectors", output.path().string());
  }
  if (output.n_done() > 0) write_message("{} vectors were there already", output.n_done());
  const EmbeddingOptions options = options_of(flags);
  const size_t n_values = engine.embedding_size(options.pooling);
  Progress progress("embedding");
  for (bool more = true; more;) {
    std::vector<Line> together;
    std::vector<std::vector<uint32_t>> ids;
    while (together.size() < kTextsTogether && more) {
      std::optional<Line> line = lines.next();
      more = line.has_value();
      if (!more) break;
      ids.push_back(engine.tokenizer().encode(line->text));
      together.push_back(std::move(*line));
    }
    const std::vector<float> vectors = engine.embed(ids, options, prefix);
    for (size_t i = 0; i < together.size(); ++i)
      output.write(together[i], std::span(vectors).subspan(i * n_values, n_values));
    output.flush();
    progress.update(lines.n_read(), lines.n_bytes());
  }
  progress.finish();
  output.commit();
}

void run(EmbedFlags flags) {
  if (flags.prompt.empty() == flags.file.empty())
    fail(ErrorCode::bad_request, "give either -p TEXT or -f FILE (- is standard input)");
  if (flags.resume && flags.out.empty()) fail(ErrorCode::bad_request, "--resume needs --out FILE");
  Engine engine = open_engine(flags.engine, {.max_sessions = flags.sessions + 1});
  std::optional<Session> prefix;
  if (!flags.prefix.empty()) {
    prefix = engine.new_session();
    prefix->feed(engine.tokenizer().encode(flags.prefix));
  }
  Session* const before = prefix ? &*prefix : nullptr;
  if (!flags.file.empty()) return embed_lines(engine, flags, before);
  const std::vector<uint32_t> ids = engine.tokenizer().encode(flags.prompt);
  const std::vector<float> vector = engine.embed({&ids, 1}, options_of(flags), before);
  Output output(flags, engine);
  output.write({}, vector);
  output.commit();
}

}  // namespace

void add_embed(CLI::App& program) {
  CLI::App* command = program.add_subcommand("embed", "turn texts into vectors");
  auto flags = std::make_shared<EmbedFlags>();
  command->add_option("-p,--prompt", flags->prompt, "one text")->type_name("TEXT");
  command
      ->add_option(
          "-f,--file", flags->file,
          "many: on each line a JSON string, or an object with \"text\" and perhaps \"id\"; - is standard input")
      ->type_name("FILE");
  command->add_option("--field", flags->field, "the object's member that is the text")->capture_default_str();
  command->add_flag("--plain", flags->plain, "each line is a text as it stands");
  command
      ->add_option("--out", flags->out,
                   ".npy: float32 [texts, D]; else lines of JSON, as on standard output if left out")
      ->type_name("FILE");
  command->add_flag("--resume", flags->resume, "go on where an earlier run with the same --out was ended");
  command
      ->add_option("--pooling", flags->pooling,
                   "the hidden vector of the last token, the mean of all tokens', or the layer's wkv state")
      ->check(CLI::IsMember({"last", "mean", "state"}))
      ->capture_default_str();
  command
      ->add_option("--layer", flags->layer,
                   "whose output: 0 is the first; -1: what the head reads. Later layers are not computed")
      ->capture_default_str();
  command
      ->add_option(
          "--closing", flags->closing,
          "what --pooling last reads after each text, so that all end alike; \\n\\nThe if left out, \"\" for nothing")
      ->type_name("TEXT");
  command->add_flag("--raw", flags->raw, "vectors as they are, not of length 1");
  command->add_option("--prefix", flags->prefix, "a beginning of all texts, read once")->type_name("TEXT");
  command->add_option("--sessions", flags->sessions, "texts on the GPU at a time")
      ->type_name("N")
      ->check(CLI::Range(1u, 512u))
      ->capture_default_str();
  add_engine_flags(*command, flags->engine);
  command->footer(
      "Example:\n  ravenwing embed -p \"The raven said\"\n"
      "  ravenwing embed -m model.gguf -f texts.jsonl --out vectors.npy --pooling mean");
  command->callback([flags] { run(*flags); });
}

}  // namespace ravenwing::apps
