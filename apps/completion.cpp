// ravenwing completion: scripts that make a shell complete commands, flags and their values.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "command.hpp"
#include "command_tree.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (size_t i = text.find(from); i != text.npos; i = text.find(from, i + to.size())) text.replace(i, from.size(), to);
  return text;
}

template <typename T>
std::vector<std::string> names_of(const std::vector<T>& entries) {
  std::vector<std::string> names;
  for (const T& entry : entries) names.push_back(entry.name);
  return names;
}

// ---- bash

/// The rows of a `case` over "COMMAND FLAG" that say what a flag's value may be.
std::string bash_values(const CommandEntry& command) {
  std::string rows;
  for (const FlagEntry& flag : command.flags) {
    if (flag.value.empty()) continue;
    std::vector<std::string> patterns;
    for (const std::string& name : flag.names) patterns.push_back(fmt::format("'{} {}'", command.path, name));
    const std::string action = !flag.choices.empty() ? fmt::format("words='{}'", fmt::join(flag.choices, " "))
                               : takes_path(flag)    ? "files=1"
                                                     : "return";  // known to the user alone
    rows += fmt::format("    {}) {} ;;\n", fmt::join(patterns, " | "), action);
  }
  return rows;
}

/// The row of a `case` over commands that says what else may follow.
std::string bash_words(const CommandEntry& command) {
  std::vector<std::string> words = flag_names(command);
  const std::vector<std::string> commands = names_of(command.commands);
  words.insert(words.end(), commands.begin(), commands.end());
  bool files = false;
  for (const FlagEntry& argument : command.arguments) {
    words.insert(words.end(), argument.choices.begin(), argument.choices.end());
    files = files || takes_path(argument);
  }
  return fmt::format("      '{}') words='{}'{} ;;\n", command.path, fmt::join(words, " "), files ? " files=1" : "");
}

std::string bash_script(const CommandEntry& program) {
  std::string values, words;
  std::vector<std::string> inner;  // patterns of commands within commands
  for (const CommandEntry& command : all_commands(program)) {
    if (command.path != command.name) inner.push_back(fmt::format("'{}'", command.path));
    values += bash_values(command);
    words += bash_words(command);
  }
  const std::vector<std::string> commands = names_of(program.commands);
  return fmt::format(
      R"(# bash completion for ravenwing, made by `ravenwing completion bash`
_ravenwing() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} command= words= files= i
  # --flag=value comes as three words.
  if [[ $current == = ]]; then
    current=
  elif [[ $previous == = ]]; then
    previous=${{COMP_WORDS[COMP_CWORD - 2]}}
  fi
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case $command${{command:+ }}${{COMP_WORDS[i]}} in
      {0} | {5}) command=$command${{command:+ }}${{COMP_WORDS[i]}} ;;
    esac
  done
  COMPREPLY=()
  case "$command $previous" in
{1}  esac
  if [[ -z $words && -z $files ]]; then
    case $command in
      '') words='{2} {3}' ;;
{4}    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  if [[ -n $files ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -f -- "$current")
  fi
}}
complete -F _ravenwing ravenwing
)",
      fmt::join(commands, " | "), values, fmt::join(commands, " "), fmt::join(flag_names(program), " "), words,
      fmt::join(inner, " | "));
}

// ---- zsh

std::string zsh_quoted(const std::string& text) { return "'" + replace_all(text, "'", R"('\'')") + "'"; }

/// What stands between the brackets or colons of a specification.
std::string zsh_text(std::string text) {
  for (const std::string_view special : {"\\", "[", "]", ":"}) {
    text = replace_all(text, special, "\\" + std::string(special));
  }
  return text;
}

std::string zsh_value(const FlagEntry& flag) {
  if (flag.value.empty()) return {};
  const std::string action = !flag.choices.empty() ? fmt::format("({})", fmt::join(flag.choices, " "))
                             : takes_path(flag)    ? "_files"
                                                   : " ";
  return fmt::format(":{}:{}", zsh_text(flag.value), action);
}

/// The arguments of _arguments, one a line.
std::string zsh_arguments(const CommandEntry& command, std::string_view indent) {
  std::string lines;
  for (const FlagEntry& flag : command.flags) {
    for (const std::string& name : flag.names) {
      const std::string others = flag.names.size() > 1 ? fmt::format("({})", fmt::join(flag.names, " ")) : "";
      const std::string end = flag.value.empty() ? "" : name.starts_with("--") ? "=" : "+";
      const std::string spec =
          fmt::format("{}{}{}[{}]{}", others, name, end, zsh_text(flag.description), zsh_value(flag));
      lines += fmt::format(" \\\n{}{}", indent, zsh_quoted(spec));
    }
  }
  for (const FlagEntry& argument : command.arguments) {
    lines += fmt::format(" \\\n{}{}{}", indent, argument.several ? "'*'" : "", zsh_quoted(zsh_value(argument)));
  }
  // The program's own are offered in another place.
  if (!command.path.empty() && !command.commands.empty()) {
    const std::vector<std::string> names = names_of(command.commands);
    lines += fmt::format(" \\\n{}'1:command:({})'", indent, fmt::join(names, " "));
  }
  return lines;
}

std::string zsh_script(const CommandEntry& program) {
  std::string commands, cases, inner;
  for (const CommandEntry& command : program.commands)
    commands += fmt::format("        {}\n", zsh_quoted(command.name + ":" + zsh_text(command.description)));
  for (const CommandEntry& command : all_commands(program)) {
    const std::string arguments = zsh_arguments(command, "          ");
    if (command.path == command.name) {
      cases += fmt::format("        {}) _arguments -s{} ;;\n", command.name, arguments);
    } else {
      inner += fmt::format("        '{}') shift words; (( CURRENT-- )); _arguments -s{}; return ;;\n", command.path,
                           arguments);
    }
  }
  return fmt::format(
      R"(#compdef ravenwing
# zsh completion for ravenwing, made by `ravenwing completion zsh`
_ravenwing() {{
  local context state state_descr line
  local -A opt_args
  _arguments -C{} \
    '1:command:->command' '*::argument:->argument'
  case $state in
    command)
      local -a commands=(
{}      )
      _describe -t commands command commands ;;
    argument)
      (( CURRENT > 2 )) && case "$words[1] $words[2]" in
{}      esac
      case $words[1] in
{}      esac ;;
  esac
}}
# Run by the completion system out of its folder, or read by `source`.
if [[ $funcstack[1] == _ravenwing ]]; then
  _ravenwing "$@"
else
  compdef _ravenwing ravenwing
fi
)",
      zsh_arguments(program, "    "), commands, inner, cases);
}

// ---- fish

std::string fish_quoted(const std::string& text) {
  return "'" + replace_all(replace_all(text, "\\", "\\\\"), "'", "\\'") + "'";
}

std::string fish_value(const FlagEntry& flag) {
  if (!flag.choices.empty())
    return fmt::format(" -x -a {}", fish_quoted(fmt::format("{}", fmt::join(flag.choices, " "))));
  return flag.value.empty() ? "" : takes_path(flag) ? " -r -F" : " -x";
}

std::string fish_flags(const CommandEntry& command, const std::string& condition) {
  std::string lines;
  for (const FlagEntry& flag : command.flags) {
    std::string names;
    for (const std::string& name : flag.names) {
      names += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
    }
    lines += fmt::format("complete -c ravenwing -n {}{}{} -d {}\n", condition, names, fish_value(flag),
                         fish_quoted(flag.description));
  }
  for (const FlagEntry& argument : command.arguments) {
    if (takes_path(argument)) lines += fmt::format("complete -c ravenwing -n {} -F\n", condition);
    if (argument.choices.empty()) continue;
    lines += fmt::format("complete -c ravenwing -n {} -a '{}'\n", condition, fmt::join(argument.choices, " "));
  }
  return lines;
}

std::string fish_script(const CommandEntry& program) {
  std::string script =
      "# fish completion for ravenwing, made by `ravenwing completion fish`\n"
      "complete -c ravenwing -f\n" +
      fish_flags(program, "__fish_use_subcommand");
  for (const CommandEntry& command : program.commands) {
    script += fmt::format("complete -c ravenwing -n __fish_use_subcommand -a {} -d {}\n", command.name,
                          fish_quoted(command.description));
    const std::string seen = fmt::format("__fish_seen_subcommand_from {}", command.name);
    script += fish_flags(command, fish_quoted(seen));
    for (const CommandEntry& inner : command.commands) {
      script += fmt::format("complete -c ravenwing -n {} -a {} -d {}\n", fish_quoted(seen), inner.name,
                            fish_quoted(inner.description));
      script += fish_flags(inner, fish_quoted(fmt::format("{}; and __fish_seen_subcommand_from {}", seen, inner.name)));
    }
  }
  return script;
}

std::string script_for(const std::string& shell, const CommandEntry& program) {
  if (shell == "bash") return bash_script(program);
  if (shell == "zsh") return zsh_script(program);
  return fish_script(program);
}

}  // namespace

void add_completion(CLI::App& program) {
  CLI::App* command = program.add_subcommand("completion", "print a script that makes a shell complete flags");
  auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "the shell that it is for")
      ->type_name("")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer("Example:\n  ravenwing completion bash > ~/.local/share/bash-completion/completions/ravenwing");
  command->callback([&program, shell] { write_out(script_for(*shell, command_tree(program))); });
}

}  // namespace ravenwing::apps
