// The manual page, in the man(7) macros.
#include <fmt/core.h>

#include "cli/help.hpp"
#include "cli/version.hpp"

namespace nagaya::cli {

namespace {

// Text for roff: a backslash, a hyphen of an option, and a control character at a line's start are not plain there.
std::string roff(std::string_view text) {
  std::string out;
  if (text.starts_with('.') || text.starts_with('\'')) out = "\\&";
  for (char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

void append_section(std::string& out, const Section& section, std::string_view macro) {
  out += fmt::format(".{} \"{}\"\n", macro, roff(section.title));
  if (!section.text.empty()) out += roff(section.text) + "\n";
  for (const auto& [term, text] : section.rows) out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff(term), roff(text));
}

void append_command(std::string& out, const CommandSpec& command) {
  out += fmt::format(".SS \"nagaya {}\"\n{}.\n", roff(command.name), roff(command.summary));
  for (const OptionSpec& option : command.options) {
    std::string term = fmt::format("\\fB{}\\fR", roff(option.positional() ? option.value : option.flags));
    if (!option.positional() && !option.value.empty()) term += fmt::format(" \\fI{}\\fR", roff(option.value));
    out += fmt::format(".TP\n{}\n{}{}.\n", term, roff(option.help), option.repeats ? " (may be repeated)" : "");
  }
  for (const Section& section : command.sections) {
    out += fmt::format(".PP\n\\fI{}\\fR\n", roff(section.title));
    if (!section.text.empty()) out += ".br\n" + roff(section.text) + "\n";
    for (const auto& [term, text] : section.rows) out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff(term), roff(text));
  }
}

}  // namespace

std::string manual_page() {
  std::string out = fmt::format(".TH NAGAYA 1 \"\" \"nagaya {}\" \"User Commands\"\n", version);
  out += ".SH NAME\nnagaya \\- run virtual machines as ordinary processes, with or without /dev/kvm\n";
  out += ".SH SYNOPSIS\n.B nagaya\n.I COMMAND\n[\\fIOPTION\\fR]...\n";
  out += ".SH EXAMPLES\n";
  for (const CommandSpec& command : commands())
    for (const Example& example : command.examples)
      out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff(example.command), roff(example.explanation));
  out += ".SH COMMANDS\n";
  for (const CommandSpec& command : commands()) append_command(out, command);
  append_section(out, exit_code_section(), "SH");
  append_section(out,
                 {"Environment", {}, {{"NAGAYA_LOG", "how much nagaya-vmm tells on standard error: debug, info, warning, error, off"}}},
                 "SH");
  return out;
}

}  // namespace nagaya::cli
