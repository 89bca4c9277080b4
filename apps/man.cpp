// ravenwing man: the manual page.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "build_info.hpp"
#include "command.hpp"
#include "command_tree.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

struct Item {
  std::string_view term, text;
};
constexpr Item kExitStatus[] = {
    {"0", "done"},
    {"1", "a file is bad or cannot be read or written, or the self-test failed"},
    {"2", "wrong usage"},
    {"3", "no adapter, or too little memory"},
    {"70", "the GPU was lost"},
    {"130", "interrupted"},
};
constexpr Item kEnvironment[] = {
    {"RAVENWING_HOME", "a folder that is searched first for models/demo; else ../share/ravenwing beside the program's"},
    {"VK_DRIVER_FILES", "the Vulkan drivers that the Vulkan loader offers, instead of those installed"},
    {"RAVENWING_DRIVER_MESSAGES", "if set, what drivers print while adapters are looked for is not held back"},
    {"NO_COLOR", "if set, chat writes no colours"},
    {"XDG_STATE_HOME", "holds ravenwing/chat_history, what was typed in chat; else ~/.local/state"},
};

/// The text for troff: nothing in it is a request or an escape, and hyphens can be copied.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const bool line_start = result.empty() || result.back() == '\n';
    if (line_start && (c == '.' || c == '\'')) result += "\\&";
    if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else {
      result += c;
    }
  }
  return result;
}

std::string items(std::span<const Item> entries) {
  std::string text;
  for (const auto& [term, meaning] : entries) {
    text += fmt::format(".TP\n\\fB{}\\fR\n{}\n", escaped(term), escaped(meaning));
  }
  return text;
}

std::string flag_item(const FlagEntry& flag, bool positional) {
  std::vector<std::string> names;
  for (const std::string& name : flag.names) {
    names.push_back(fmt::format("{}{}\\fR", positional ? "\\fI" : "\\fB", escaped(name)));
  }
  std::string text = fmt::format(".TP\n{}", fmt::join(names, ", "));
  if (!positional && !flag.value.empty()) text += fmt::format(" \\fI{}\\fR", escaped(flag.value));
  text += "\n" + escaped(flag.description);
  if (!flag.choices.empty()) text += escaped(fmt::format(" (one of {})", fmt::join(flag.choices, ", ")));
  if (!flag.default_value.empty()) text += escaped(fmt::format(" [{}]", flag.default_value));
  return text + "\n";
}

std::string command_section(const CommandEntry& command) {
  std::string text = fmt::format(".SS ravenwing {} [\\fIflags\\fR]", escaped(command.path));
  for (const FlagEntry& argument : command.arguments)
    text += fmt::format(" \\fI{}\\fR", escaped(argument.names.front()));
  text += "\n" + escaped(command.description) + "\n";
  for (const FlagEntry& argument : command.arguments) text += flag_item(argument, true);
  for (const FlagEntry& flag : command.flags) text += flag_item(flag, false);
  return text + ".PP\n.nf\n" + escaped(command.footer) + "\n.fi\n";
}

std::string man_page(const CommandEntry& program) {
  const BuildInfo& info = build_info();
  std::string text = fmt::format(
      ".TH RAVENWING 1 \"{}\" \"ravenwing {}\" \"User Commands\"\n"
      ".SH NAME\nravenwing \\- run RWKV\\-7 language models on a GPU\n"
      ".SH SYNOPSIS\n.B ravenwing\n\\fIcommand\\fR [\\fIflags\\fR]\n"
      ".SH DESCRIPTION\n{}\n",
      info.date, info.version, escaped(program.description));
  for (const FlagEntry& flag : program.flags) text += flag_item(flag, false);
  text += ".SH COMMANDS\n";
  for (const CommandEntry& command : all_commands(program)) text += command_section(command);
  text += ".SH EXIT STATUS\n" + items(kExitStatus);
  return text + ".SH ENVIRONMENT\n" + items(kEnvironment);
}

}  // namespace

void add_man(CLI::App& program) {
  CLI::App* command = program.add_subcommand("man", "print the manual page");
  command->footer("Example:\n  ravenwing man | man -l -");
  command->callback([&program] { write_out(man_page(command_tree(program))); });
}

}  // namespace ravenwing::apps
