// The sub-commands and flags as plain data, for what is made from them: completions and the man page.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace ravenwing::apps {

struct FlagEntry {
  std::vector<std::string> names;    // "-m", "--model"; of a positional argument "FILE"
  std::string value;                 // what it takes: "FILE", "N"; empty for a switch
  std::vector<std::string> choices;  // all values there are, where they are few
  std::string description, default_value;
  bool required = false, several = false;
};

struct CommandEntry {
  std::string name, path;  // "sweep", "bench sweep"; the program's path is ""
  std::string description, footer;
  std::vector<FlagEntry> flags, arguments;
  std::vector<CommandEntry> commands;
};

CommandEntry command_tree(const CLI::App& program, const std::string& path = {});
/// Those of the program, each followed by those that it has of its own.
std::vector<CommandEntry> all_commands(const CommandEntry& program);

/// Whether the flag names a file or a folder.
bool takes_path(const FlagEntry& flag);
/// The names of all flags of the command.
std::vector<std::string> flag_names(const CommandEntry& command);

}  // namespace ravenwing::apps
