// The program: its sub-commands, and every failure turned into one line on standard error and an exit status.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "build_info.hpp"
#include "command.hpp"
#include "suggest.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

enum ExitStatus { kDone = 0, kRuntime = 1, kUsage = 2, kNoDevice = 3, kDeviceLost = 70, kInterrupted = 130 };

ExitStatus status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::bad_file:
    case ErrorCode::unsupported:
      return kRuntime;
    case ErrorCode::bad_request:
      return kUsage;
    case ErrorCode::no_device:
    case ErrorCode::out_of_memory:
      return kNoDevice;
    case ErrorCode::device_lost:
      return kDeviceLost;
    case ErrorCode::cancelled:
      return kInterrupted;
  }
  return kRuntime;
}

std::vector<std::string> flags_of(const CLI::App& command) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

std::vector<std::string> commands_of(const CLI::App& program) {
  std::vector<std::string> names;
  for (const CLI::App* command : program.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

/// The innermost command that was given; the program itself where there is none.
const CLI::App& chosen_command(const CLI::App& program) {
  const CLI::App* command = &program;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  return *command;
}

/// "bench sweep"
std::string path_of(const CLI::App& program, const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  if (&command == &program) return {};
  return parent == &program ? command.get_name() : path_of(program, *parent) + " " + command.get_name();
}

/// Says what the word that nobody knows was meant to be; "" if every word was known.
std::string unknown_word(const CLI::App& program) {
  const CLI::App& command = chosen_command(program);
  const bool none_chosen = &command == &program;
  std::vector<std::string> words = command.remaining();
  if (words.empty()) return {};
  // In `generate --top_k 5` both are left over, and the flag is the one to name; in `genrate -n 5` it is the command.
  const auto flag =
      std::find_if(words.begin(), words.end(), [](const std::string& word) { return word.starts_with('-'); });
  const std::string& word = none_chosen || flag == words.end() ? words.front() : *flag;
  const bool is_flag = word.starts_with('-');
  const bool is_command = !is_flag && !command.get_subcommands({}).empty();
  const std::string name = word.substr(0, word.find('='));
  const std::string match = is_flag      ? nearest(name, flags_of(command))
                            : is_command ? nearest(name, commands_of(command))
                                         : std::string();
  return fmt::format("unknown {} '{}'{}",
                     is_flag      ? "flag"
                     : is_command ? "command"
                                  : "argument",
                     word, match.empty() ? "" : fmt::format(" (did you mean {}?)", match));
}

ExitStatus usage_error(const CLI::App& program, const CLI::ParseError& error) {
  const std::string chosen = path_of(program, chosen_command(program));
  std::string message = unknown_word(program);
  if (message.empty() && chosen.empty())
    message = fmt::format("no command; there are {}", fmt::join(commands_of(program), ", "));
  if (message.empty()) message = error.what();
  write_message("error: {}", message);
  write_message("see `ravenwing {}--help`", chosen.empty() ? "" : chosen + " ");
  return kUsage;
}

ExitStatus parse_and_run(int argc, char** argv) {
  CLI::App program("Runs RWKV-7 language models on any GPU that WebGPU reaches.", "ravenwing");
  program.set_version_flag("--version", version_text, "print version, commit, compiler and WebGPU library");
  program.require_subcommand(1);
  program.footer("Every command has --help.\nExample:\n  ravenwing generate -p \"Once upon a time\" -n 100");
  add_generate(program);
  add_chat(program);
  add_bench(program);
  add_profile(program);
  add_tune(program);
  add_inspect(program);
  add_devices(program);
  add_doctor(program);
  add_tokenize(program);
  add_perplexity(program);
  add_logits(program);
  add_embed(program);
  add_completion(program);
  add_man(program);
  try {
    program.parse(argc, argv);
  } catch (const CLI::CallForVersion& version) {
    write_out(version.what());
  } catch (const CLI::CallForHelp&) {
    write_out(program.help());
  } catch (const CLI::ParseError& error) {
    return usage_error(program, error);
  }
  return kDone;
}

ExitStatus run(int argc, char** argv) {
  prepare_terminal();
  try {
    return parse_and_run(argc, argv);
  } catch (const OutputClosed&) {
    return kDone;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) {
      write_message("interrupted");
    } else {
      write_message("error: {}", error.what());
    }
    return status_of(error.code());
  } catch (const std::bad_alloc&) {
    write_message("error: out of memory");
    return kNoDevice;
  } catch (const std::exception& error) {
    write_message("error: {}", error.what());
    return kRuntime;
  }
}

}  // namespace
}  // namespace ravenwing::apps

int main(int argc, char** argv) { return ravenwing::apps::run(argc, argv); }
