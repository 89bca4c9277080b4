#include "command_tree.hpp"

#include <CLI/CLI.hpp>

namespace ravenwing::apps {
namespace {

/// CLI11 describes a set of values in the name of the type: "TIER:{T0,T1}".
std::vector<std::string> choices_of(const std::string& type) {
  const size_t open = type.find(":{");
  if (open == type.npos || !type.ends_with('}')) return {};
  return CLI::detail::split(type.substr(open + 2, type.size() - open - 3), ',');
}

FlagEntry flag_entry(const CLI::Option& option) {
  FlagEntry flag{
      .description = option.get_description(),
      .default_value = option.get_default_str(),
      .required = option.get_required(),
      .several = option.get_items_expected_max() > 1,
  };
  for (const std::string& name : option.get_snames()) flag.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) flag.names.push_back("--" + name);
  if (flag.names.empty()) flag.names.push_back(option.get_name(true));
  if (option.get_items_expected_max() > 0) {
    const std::string type = option.get_type_name();
    flag.choices = choices_of(type);
    flag.value = type.substr(0, type.find(':'));
    if (flag.value.empty()) flag.value = option.get_positional() ? flag.names.front() : "VALUE";
  }
  return flag;
}

}  // namespace

CommandEntry command_tree(const CLI::App& program, const std::string& path) {
  CommandEntry command{.name = program.get_name(),
                       .path = path,
                       .description = program.get_description(),
                       .footer = program.get_footer()};
  for (const CLI::Option* option : program.get_options()) {
    if (option->get_group().empty()) continue;  // hidden
    (option->get_positional() ? command.arguments : command.flags).push_back(flag_entry(*option));
  }
  for (const CLI::App* child : program.get_subcommands({}))
    command.commands.push_back(command_tree(*child, path.empty() ? child->get_name() : path + " " + child->get_name()));
  return command;
}

std::vector<CommandEntry> all_commands(const CommandEntry& program) {
  std::vector<CommandEntry> commands;
  for (const CommandEntry& command : program.commands) {
    commands.push_back(command);
    const std::vector<CommandEntry> inner = all_commands(command);
    commands.insert(commands.end(), inner.begin(), inner.end());
  }
  return commands;
}

bool takes_path(const FlagEntry& flag) { return flag.value == "FILE" || flag.value == "DIR"; }

std::vector<std::string> flag_names(const CommandEntry& command) {
  std::vector<std::string> names;
  for (const FlagEntry& flag : command.flags) names.insert(names.end(), flag.names.begin(), flag.names.end());
  return names;
}

}  // namespace ravenwing::apps
