// ravenwing chat: a conversation on a terminal.
#include "ravenwing/chat.hpp"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <random>

#include "command.hpp"
#include "line_editor.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

constexpr size_t kUndoMax = 16;
constexpr std::string_view kHelp =
    "  /save FILE       write the conversation's state to FILE\n"
    "  /load FILE|NAME  go on from a saved state, or from a point that /fork remembered\n"
    "  /fork NAME       remember this point as NAME\n"
    "  /undo            take back the last question and its answer\n"
    "  /reset           begin anew\n"
    "  /set             show the settings;  /set NAME VALUE changes one\n"
    "  /help            this list\n"
    "  /exit            end; Ctrl-D does too. Ctrl-C ends an answer\n"
    "A line that ends in \\ goes on in the next; \"\"\" begins and ends a text of several lines.\n";

struct ChatFlags {
  EngineFlags engine;
  std::string system, form = "g1", think = "off", load;
  std::optional<uint64_t> seed;
  std::optional<std::string> history;
  GenerateOptions options;
};

/// The conversation and its settings: what is said goes into the session once and is never read again.
class Conversation {
 public:
  Conversation(Engine& engine, ChatFlags& flags)
      : engine_(engine),
        session_(engine.new_session()),
        form_(chat_template_of(flags.form)),
        think_(think_of(flags.think)),
        system_(flags.system),
        options_(flags.options) {
    options_.stop = chat_stops();
  }

  /// Writes the answer as it comes.
  void ask(std::string_view text, const std::function<void(std::string_view)>& write) {
    keep_for_undo();
    if (session_.n_tokens() == 0) feed(system_turn(system_));
    std::string turn = user_turn(form_, think_, text);
    const std::string lead = answer_lead(form_, think_);
    std::optional<Session> before_thought;
    if (!lead.empty()) {
      feed(turn);
      before_thought = session_.fork();
      turn = lead;
      write(lead);
    }
    std::string answer = lead;
    options_.on_text = [&](std::string_view piece) {
      answer += piece;
      write(piece);
      return !interrupted();
    };
    size_t n_in_state = 0;  // bytes of the answer that the session stands after
    try {
      const Completion completion = session_.generate(engine_.tokenizer().encode(turn), options_);
      n_in_state = engine_.tokenizer().decode(completion.ids).size();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::cancelled) throw;
      n_in_state = answer.size() - lead.size();
    }
    clear_interrupt();
    if (before_thought) {
      session_ = std::move(*before_thought);
      feed(" " + without_thought(answer) + "\n\n");
    } else {
      feed(answer.substr(std::min(n_in_state, answer.size())) + "\n\n");
    }
  }

  void reset() {
    session_.reset();
    undo_.clear();
  }
  void undo() {
    if (undo_.empty()) fail(ErrorCode::bad_request, "nothing to take back");
    session_.restore(undo_.back());
    undo_.pop_back();
  }
  void save(const std::string& path) { session_.save(path); }
  void remember(const std::string& name) { points_[name] = session_.snapshot(); }
  void load(const std::string& name) {
    const auto point = points_.find(name);
    keep_for_undo();
    if (point != points_.end())
      session_.restore(point->second);
    else
      session_.load(name);
  }
  uint64_t n_tokens() const { return session_.n_tokens(); }

  void set(std::string_view key, const std::string& value);
  std::string settings() const;

 private:
  void feed(const std::string& text) { session_.feed(engine_.tokenizer().encode(text)); }
  void keep_for_undo() {
    if (undo_.size() == kUndoMax) undo_.erase(undo_.begin());
    undo_.push_back(session_.snapshot());
  }

  Engine& engine_;
  Session session_;
  ChatTemplate form_;
  Think think_;
  std::string system_;
  GenerateOptions options_;
  std::vector<SessionSnapshot> undo_;
  std::map<std::string, SessionSnapshot, std::less<>> points_;
};

template <typename T>
T number(std::string_view key, const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail(ErrorCode::bad_request, "{} is '{}', must be a number in its range", key, printable(text));
  return value;
}

void Conversation::set(std::string_view key, const std::string& value) {
  GenerateOptions changed = options_;
  SamplerParams& sampler = changed.sampler;
  if (key == "temperature")
    sampler.temperature = number<float>(key, value);
  else if (key == "top-p")
    sampler.top_p = number<float>(key, value);
  else if (key == "top-k")
    sampler.top_k = number<uint32_t>(key, value);
  else if (key == "seed")
    sampler.seed = number<uint64_t>(key, value);
  else if (key == "max-tokens")
    changed.max_tokens = number<uint32_t>(key, value);
  else if (key == "think")
    think_ = think_of(value);
  else if (key == "template")
    form_ = chat_template_of(value);
  else if (key == "system")
    system_ = value;
  else
    fail(ErrorCode::bad_request,
         "no setting '{}': there are temperature, top-p, top-k, seed, max-tokens, think, template, system",
         printable(key));
  sampler.validate();
  options_ = changed;
}

std::string Conversation::settings() const {
  constexpr const char* kThink[] = {"off", "fake", "on", "brief", "normal", "deep"};
  const SamplerParams& sampler = options_.sampler;
  return fmt::format(
      "  temperature {}\n  top-p {}\n  top-k {}\n  seed {}\n  max-tokens {}\n  think {}\n  template {}\n  system {}\n",
      sampler.temperature, sampler.top_p, sampler.top_k, sampler.seed, options_.max_tokens, kThink[size_t(think_)],
      form_ == ChatTemplate::g1 ? "g1" : "world", printable(system_));
}

/// Runs "/word argument"; false ends the chat.
bool run_command(Conversation& conversation, const std::string& line) {
  const size_t blank = std::min(line.find(' '), line.size());
  const std::string word = line.substr(1, blank - 1);
  const size_t begin = line.find_first_not_of(' ', blank);
  const std::string argument = begin == line.npos ? "" : line.substr(begin);
  const auto needed = [&] {
    if (argument.empty()) fail(ErrorCode::bad_request, "/{} needs a name", word);
    return argument;
  };
  if (word == "exit" || word == "quit") return false;
  if (word == "help") {
    write_out(kHelp);
  } else if (word == "reset") {
    conversation.reset();
  } else if (word == "undo") {
    conversation.undo();
  } else if (word == "save") {
    conversation.save(needed());
    write_message("saved to '{}', {} tokens", argument, conversation.n_tokens());
  } else if (word == "load") {
    conversation.load(needed());
    write_message("going on from '{}', {} tokens", argument, conversation.n_tokens());
  } else if (word == "fork") {
    conversation.remember(needed());
    write_message("remembered as '{}': /load {} comes back to it", argument, argument);
  } else if (word == "set") {
    const size_t gap = argument.find(' ');
    if (argument.empty())
      write_out(conversation.settings());
    else
      conversation.set(argument.substr(0, gap),
                       gap == argument.npos ? "" : argument.substr(argument.find_first_not_of(' ', gap)));
  } else {
    fail(ErrorCode::bad_request, "no command /{}: /help lists them", printable(word));
  }
  return true;
}

/// What the user says next, several lines as one text; nothing at the end.
std::optional<std::string> read_turn(LineEditor& editor, const std::string& prompt) {
  constexpr std::string_view kQuotes = "\"\"\"";
  std::optional<std::string> line = editor.read(prompt);
  if (!line) return line;
  std::string text = *line;
  if (text.starts_with(kQuotes)) {
    text.erase(0, kQuotes.size());
    while (!text.ends_with(kQuotes)) {
      line = editor.read("... ");
      if (!line) return text;
      text += "\n" + *line;
    }
    text.resize(text.size() - kQuotes.size());
    return text;
  }
  while (text.ends_with('\\')) {
    text.back() = '\n';
    line = editor.read("... ");
    if (!line) break;
    text += *line;
  }
  return text;
}

std::filesystem::path history_path(const ChatFlags& flags) {
  if (flags.history) return *flags.history;
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  if (state != nullptr && *state != '\0') return std::filesystem::path(state) / "ravenwing/chat_history";
  if (home != nullptr && *home != '\0') return std::filesystem::path(home) / ".local/state/ravenwing/chat_history";
  return {};
}

void run(ChatFlags& flags) {
  SamplerParams& sampler = flags.options.sampler;
  sampler.seed = flags.seed ? *flags.seed : std::random_device{}();
  sampler.validate();
  Engine engine = open_engine(flags.engine, {.max_sessions = 2});  // the second while the model thinks
  Conversation conversation(engine, flags);
  if (!flags.load.empty()) conversation.load(flags.load);

  const bool coloured = stdout_is_terminal() && std::getenv("NO_COLOR") == nullptr;
  // The marks \1 tell the editor what takes no room on the line.
  const std::string prompt = coloured ? "\1\x1b[1;32m\1>\1\x1b[0m\1 " : stdin_is_terminal() ? "> " : "";
  LineEditor editor(history_path(flags));
  if (stdin_is_terminal())
    write_message("{}; /help lists the commands", printable(engine.model().path.filename().string()));
  while (true) {
    try {
      const std::optional<std::string> turn = read_turn(editor, prompt);
      if (!turn) break;
      editor.remember(*turn);
      if (turn->starts_with('/')) {
        if (!run_command(conversation, *turn)) return;
      } else if (!clean_turn(*turn).empty()) {
        conversation.ask(*turn, [](std::string_view text) { write_out(text); });
        write_out("\n");
      }
    } catch (const Error& error) {
      // At the prompt Ctrl-C ends the chat; anything that only this turn got wrong does not.
      if (error.code() != ErrorCode::bad_request && error.code() != ErrorCode::bad_file) throw;
      if (!stdin_is_terminal()) throw;
      write_message("{}", error.what());
    }
  }
  if (stdin_is_terminal()) write_out("\n");
}

}  // namespace

void add_chat(CLI::App& program) {
  CLI::App* command = program.add_subcommand("chat", "talk with a model");
  auto flags = std::make_shared<ChatFlags>();
  flags->options.max_tokens = 1024;
  command->add_option("--system", flags->system, "what the model is told first")->type_name("TEXT");
  command->add_option("--template", flags->form, "form of the turns: g1, world")
      ->type_name("NAME")
      ->check(CLI::IsMember({"g1", "world"}))
      ->capture_default_str();
  command->add_option("--think", flags->think, "thoughts before an answer: off, fake, on, brief, normal, deep")
      ->type_name("MODE")
      ->check(CLI::IsMember({"off", "fake", "on", "brief", "normal", "deep"}))
      ->capture_default_str();
  command->add_option("--resume", flags->load, "go on from what /save wrote")->type_name("FILE");
  command->add_option("--history", flags->history, "file that keeps what was typed; an empty name keeps nothing")
      ->type_name("FILE");
  command->add_option("-n,--max-tokens", flags->options.max_tokens, "tokens of an answer at most")
      ->type_name("N")
      ->capture_default_str();
  SamplerParams& sampler = flags->options.sampler;
  command->add_option("--temperature,--temp", sampler.temperature, "0: always the most probable token")
      ->type_name("T")
      ->capture_default_str();
  command->add_option("--top-k", sampler.top_k, "choose among the K most probable; 0: all")
      ->type_name("K")
      ->capture_default_str();
  command->add_option("--top-p", sampler.top_p, "choose among the most probable that have P together; 1: all")
      ->type_name("P")
      ->capture_default_str();
  command->add_option("-s,--seed", flags->seed, "equal seeds give equal texts; random if left out")->type_name("N");
  add_engine_flags(*command, flags->engine);
  command->footer("Example:\n  ravenwing chat -m model.gguf --system \"You are a poet.\"\n\n" + std::string(kHelp));
  command->callback([flags] { run(*flags); });
}

}  // namespace ravenwing::apps
