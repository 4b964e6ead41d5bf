// The table of commands.
#include <fmt/core.h>

#include <cstdio>

#include "cli/definition_files.hpp"
#include "cli/doctor.hpp"
#include "cli/domain_command.hpp"
#include "cli/exec_command.hpp"
#include "cli/help.hpp"
#include "cli/image_command.hpp"
#include "cli/launch.hpp"
#include "cli/network_command.hpp"
#include "cli/parse.hpp"
#include "cli/remote.hpp"
#include "cli/run_command.hpp"
#include "cli/save_command.hpp"
#include "cli/version.hpp"
#include "cli/volume_command.hpp"

namespace nagaya::cli {

namespace {

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

CommandSpec version_command() {
  return {.name = "version",
          .summary = "print the version",
          .examples = {{"nagaya version", "the version's number, alone on a line"}},
          .run = [](const Parsed&) -> Result<int> {
            print(fmt::format("{}\n", version));
            return 0;
          }};
}

CommandSpec completion_command() {
  return {.name = "completion",
          .summary = "print a completion script for a shell",
          .examples = {{"source <(nagaya completion bash)", "for this bash session"},
                       {"nagaya completion fish >~/.config/fish/completions/nagaya.fish", "for good, in fish"},
                       {"nagaya completion zsh >/usr/local/share/zsh/site-functions/_nagaya", "for good, in zsh"}},
          .options = {{"SHELL", "SHELL", "bash, zsh or fish", Completes::words, {"bash", "zsh", "fish"}}},
          .run = [](const Parsed& options) -> Result<int> {
            if (!options.has("SHELL")) return fail("nagaya completion", "no shell is named", "write bash, zsh or fish");
            TRY_ASSIGN(std::string script, completion_script(options.last("SHELL")));
            print(script);
            return 0;
          }};
}

CommandSpec help_command(std::vector<std::string> names) {
  return {.name = "help",
          .summary = "explain a command, or print the manual page",
          .examples = {{"nagaya help run", "everything 'run' can do"},
                       {"nagaya help --man | man -l -", "read the manual page"}},
          .options = {{"--man", "", "print the manual page nagaya(1)"},
                      {"COMMAND", "COMMAND", "the command to explain", Completes::words,
                       std::move(names), false}},
          .run = [](const Parsed& options) -> Result<int> {
            if (options.has("man")) {
              print(manual_page());
            } else if (options.has("COMMAND")) {
              const CommandSpec* command = find_command(options.last("COMMAND"));
              if (command == nullptr) return std::unexpected(unknown_command(options.last("COMMAND")));
              print(help_of(*command));
            } else {
              print(help_overview());
            }
            return 0;
          }};
}

}  // namespace

const std::vector<CommandSpec>& commands() {
  static const std::vector<CommandSpec> table = [] {
    std::vector<CommandSpec> out{run_command()};
    for (CommandSpec& command : life_commands()) out.push_back(std::move(command));
    for (CommandSpec& command : save_commands()) out.push_back(std::move(command));
    for (CommandSpec& command : look_commands()) out.push_back(std::move(command));
    for (CommandSpec& command : definition_commands()) out.push_back(std::move(command));
    for (CommandSpec& command : image_commands()) out.push_back(std::move(command));
    for (const auto make : {exec_command, cp_command, volume_command, network_command, serve_command, token_command, doctor_command, version_command, completion_command}) out.push_back(make());
    std::vector<std::string> names;
    for (const CommandSpec& command : out) names.push_back(command.name);
    names.emplace_back("help");
    out.push_back(help_command(std::move(names)));
    return out;
  }();
  return table;
}

}  // namespace nagaya::cli
