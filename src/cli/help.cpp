#include "cli/help.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "proto/exit_codes.hpp"

namespace nagaya::cli {

namespace {

constexpr std::size_t width = 100;

// Words of `text` from column `indent` on, broken before column `width`; the first line is already indented.
void append_wrapped(std::string& out, std::string_view text, std::size_t indent) {
  std::size_t column = indent;
  bool first = true;
  while (!text.empty()) {
    std::size_t end = std::min(text.find(' '), text.size());
    std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!first && column + 1 + word.size() > width) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (!first) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    first = false;
  }
  out += '\n';
}

void append_row(std::string& out, const std::string& term, std::string_view text, std::size_t indent) {
  out += "  " + term;
  if (term.size() + 4 > indent) {
    out += "\n" + std::string(indent, ' ');
  } else {
    out += std::string(indent - term.size() - 2, ' ');
  }
  append_wrapped(out, text, indent);
}

void append_examples(std::string& out, const std::vector<Example>& examples) {
  out += "Examples:\n";
  for (const Example& example : examples) out += fmt::format("  {}\n      {}\n", example.command, example.explanation);
}

void append_section(std::string& out, const Section& section) {
  out += "\n" + section.title + ":\n";
  if (!section.text.empty()) {
    out += "  ";
    append_wrapped(out, section.text, 2);
  }
  std::size_t indent = 8;
  for (const auto& [term, text] : section.rows) indent = std::max(indent, std::min<std::size_t>(term.size() + 4, 28));
  for (const auto& [term, text] : section.rows) append_row(out, term, text, indent);
}

}  // namespace

const Section& exit_code_section() {
  static const Section section{
      "Exit codes",
      {},
      {{fmt::format("{}", int{proto::exit_power_off}), "the guest powered off, was saved on demand, or you left with Ctrl-]"},
       {"odd", "the guest wrote value v to the debug-exit port: (v << 1) | 1"},
       {fmt::format("{}", int{proto::exit_reset}), "the guest reset itself, and --no-reboot was given"},
       {fmt::format("{}", int{proto::exit_triple_fault}), "the guest crashed with a triple fault, and --no-reboot was given"},
       {fmt::format("{}", int{proto::exit_guest_internal}), "the engine could not go on with this guest"},
       {fmt::format("{}", int{proto::exit_failure}), "our own error: bad options, files or host; the message says what and why"},
       {"126", "nagaya-vmm was found but cannot be run"},
       {"127", "nagaya-vmm was not found"},
       {"128+n", "ended by signal n"}}};
  return section;
}

std::string help_overview() {
  std::string out;
  append_examples(out, {{"nagaya run debian", "a whole Debian: its image is made the first time; its console is this terminal"},
                        {"nagaya run -d --name web -p 8080:80 debian && nagaya exec web uname -a", "one in the background, and a command in it"},
                        {"nagaya run --kernel vmlinuz --initrd initrd.img -m 512M -c 2", "boot a Linux kernel; its console is this terminal"},
                        {"nagaya doctor", "what this host offers, and how to mend what it lacks"},
                        {"nagaya help run", "everything 'run' can do"}});
  append_section(out, {"Usage", "nagaya COMMAND [OPTION]…", {}});
  Section list{"Commands", {}, {}};
  for (const CommandSpec& command : commands()) list.rows.emplace_back(command.name, command.summary);
  append_section(out, list);
  append_section(out, exit_code_section());
  return out;
}

std::string help_of(const CommandSpec& command) {
  std::string out;
  append_examples(out, command.examples);
  std::string usage = "nagaya " + command.name;
  if (std::ranges::any_of(command.options, [](const OptionSpec& o) { return !o.positional(); })) usage += " [OPTION]…";
  for (const OptionSpec& option : command.options)
    if (option.positional()) usage += " [" + option.value + "]" + (option.repeats || option.rest ? "…" : "");
  append_section(out, {"Usage", usage, {}});
  out += "\n  " + command.summary + ".\n";
  std::vector<Section> lists{{"Options", {}, {}}};
  for (const OptionSpec& option : command.options) {
    std::string term = option.positional() ? option.value : option.flags;
    std::size_t comma = term.find(',');
    if (comma != std::string::npos) term.insert(comma + 1, " ");
    if (!option.positional() && !option.value.empty()) term += " " + option.value;
    const std::string title = option.group.empty() ? "Options" : option.group;
    auto list = std::ranges::find(lists, title, &Section::title);
    if (list == lists.end()) list = lists.insert(list, {title, {}, {}});
    list->rows.emplace_back(term, option.help + (option.repeats ? " (may be repeated)" : ""));
  }
  lists[0].rows.emplace_back(command.takes_h() ? "--help" : "-h, --help", "show this");
  for (const Section& list : lists) append_section(out, list);
  for (const Section& section : command.sections) append_section(out, section);
  if (command.name == "run") append_section(out, exit_code_section());
  return out;
}

}  // namespace nagaya::cli
