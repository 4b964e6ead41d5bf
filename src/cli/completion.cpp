// Completion scripts for bash, zsh and fish.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include "cli/help.hpp"

namespace nagaya::cli {

namespace {

// "-m,--memory" → {"-m", "--memory"}
std::vector<std::string> spellings(const OptionSpec& option) {
  std::vector<std::string> out;
  std::string_view rest = option.flags;
  while (!rest.empty()) {
    std::size_t comma = std::min(rest.find(','), rest.size());
    out.emplace_back(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return out;
}

// In single quotes of a shell.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string bash_completion() {
  std::string out =
      "# bash completion for nagaya; load with: source <(nagaya completion bash)\n"
      "_nagaya() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} options=\n"
      "  COMPREPLY=()\n"
      "  if [[ $COMP_CWORD -eq 1 ]]; then\n";
  std::vector<std::string> names;
  for (const CommandSpec& command : commands()) names.push_back(command.name);
  out += fmt::format("    COMPREPLY=($(compgen -W {} -- \"$word\"))\n    return\n  fi\n", quoted(fmt::format("{}", fmt::join(names, " "))));
  out += "  case ${COMP_WORDS[1]} in\n";
  for (const CommandSpec& command : commands()) {
    out += fmt::format("    {})\n      case $before in\n", command.name);
    std::vector<std::string> flags{"--help"}, words;
    for (const OptionSpec& option : command.options) {
      if (option.positional()) {
        words.insert(words.end(), option.words.begin(), option.words.end());
        continue;
      }
      std::vector<std::string> names_of = spellings(option);
      flags.insert(flags.end(), names_of.begin(), names_of.end());
      if (option.value.empty()) continue;
      std::string pattern = fmt::format("{}", fmt::join(names_of, "|"));
      if (option.completes == Completes::words) {
        out += fmt::format("        {}) COMPREPLY=($(compgen -W {} -- \"$word\")); return ;;\n", pattern,
                           quoted(fmt::format("{}", fmt::join(option.words, " "))));
      } else if (option.completes == Completes::file) {
        out += fmt::format("        {}) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n", pattern);
      } else {
        out += fmt::format("        {}) return ;;\n", pattern);
      }
    }
    flags.insert(flags.end(), words.begin(), words.end());
    out += fmt::format("      esac\n      options={}\n      ;;\n", quoted(fmt::format("{}", fmt::join(flags, " "))));
  }
  out +=
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
      "}\n"
      "complete -F _nagaya nagaya\n";
  return out;
}

// Text inside a zsh _arguments specification: brackets and colons have a meaning there.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_completion() {
  std::string out =
      "#compdef nagaya\n"
      "# zsh completion for nagaya; put it into a folder of $fpath as _nagaya\n"
      "_nagaya() {\n"
      "  local -a commands\n"
      "  commands=(\n";
  for (const CommandSpec& command : commands())
    out += fmt::format("    {}\n", quoted(fmt::format("{}:{}", command.name, zsh_text(command.summary))));
  out +=
      "  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  local command=$words[2]\n"
      "  shift words; (( CURRENT-- ))\n"
      "  case $command in\n";
  for (const CommandSpec& command : commands()) {
    out += fmt::format("    {})\n      _arguments -s", command.name);
    for (const OptionSpec& option : command.options) {
      std::string action;
      if (option.completes == Completes::words) action = fmt::format("({})", fmt::join(option.words, " "));
      if (option.completes == Completes::file) action = "_files";
      if (option.positional()) {
        out += fmt::format(" \\\n        {}", quoted(fmt::format("*:{}:{}", zsh_text(option.value), action)));
        continue;
      }
      for (const std::string& spelling : spellings(option)) {
        std::string rule = fmt::format("{}{}[{}]", option.repeats ? "*" : "", spelling, zsh_text(option.help));
        if (!option.value.empty()) rule += fmt::format(":{}:{}", zsh_text(option.value), action);
        out += fmt::format(" \\\n        {}", quoted(rule));
      }
    }
    out += " \\\n        '--help[show help]'\n      ;;\n";
  }
  out += "  esac\n}\n_nagaya \"$@\"\n";
  return out;
}

std::string fish_completion() {
  std::string out =
      "# fish completion for nagaya; load with: nagaya completion fish | source\n"
      "complete -c nagaya -f\n";
  for (const CommandSpec& command : commands()) {
    out += fmt::format("complete -c nagaya -n __fish_use_subcommand -a {} -d {}\n", command.name, quoted(command.summary));
  }
  for (const CommandSpec& command : commands()) {
    std::string when = fmt::format("complete -c nagaya -n '__fish_seen_subcommand_from {}'", command.name);
    for (const OptionSpec& option : command.options) {
      if (option.positional()) {
        if (!option.words.empty()) out += fmt::format("{} -a {}\n", when, quoted(fmt::format("{}", fmt::join(option.words, " "))));
        continue;
      }
      std::string line = when;
      for (const std::string& spelling : spellings(option)) {
        line += spelling.starts_with("--") ? " -l " + spelling.substr(2) : " -s " + spelling.substr(1);
      }
      line += " -d " + quoted(option.help);
      if (!option.value.empty()) {
        line += option.completes == Completes::file ? " -r -F" : " -x";
        if (option.completes == Completes::words) line += fmt::format(" -a {}", quoted(fmt::format("{}", fmt::join(option.words, " "))));
      }
      out += line + "\n";
    }
  }
  return out;
}

}  // namespace

Result<std::string> completion_script(std::string_view shell) {
  if (shell == "bash") return bash_completion();
  if (shell == "zsh") return zsh_completion();
  if (shell == "fish") return fish_completion();
  return fail(fmt::format("no completion for '{}'", shell), {}, "there is bash, zsh and fish");
}

}  // namespace nagaya::cli
