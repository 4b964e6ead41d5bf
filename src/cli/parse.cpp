#include "cli/parse.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <deque>

#include "base/suggest.hpp"

namespace nagaya::cli {

namespace {

Error unexpected_word(const CommandSpec& command, std::string word) {
  std::string hint = fmt::format("see 'nagaya help {}'", command.name);
  word = word.substr(0, word.find('='));
  if (!word.starts_with('-')) return Error{fmt::format("unexpected argument '{}'", word), {}, hint};
  std::vector<std::string> known{"--help"};
  for (const OptionSpec& option : command.options)
    if (!option.positional()) known.push_back("--" + option.key());
  std::string meant = suggestion(word, known);
  // One dash too few is the most common slip: "-kernel".
  if (meant.empty() && !word.starts_with("--")) meant = suggestion("-" + word, known);
  if (!meant.empty()) hint = fmt::format("did you mean '{}'?", meant);
  return Error{fmt::format("unknown option '{}'", word), {}, hint};
}

// CLI11's wording names internals; these say the same with the command's own words.
Error explain(const CommandSpec& command, const CLI::App& app, const CLI::ParseError& error) {
  if (dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr)
    return Error{fmt::format("nagaya {}", command.name), error.what(), fmt::format("see 'nagaya help {}'", command.name)};
  std::string word;
  for (const std::string& extra : app.remaining()) {
    word = extra;
    if (word.starts_with('-')) break;
  }
  return unexpected_word(command, word);
}

}  // namespace

Result<Parsed> parse_arguments(const CommandSpec& command, std::span<const std::string> words) {
  CLI::App app{command.summary, command.name};
  app.set_help_flag(command.takes_h() ? "--help" : "-h,--help");
  std::deque<std::vector<std::string>> values;
  std::deque<bool> switches;
  std::vector<std::pair<const OptionSpec*, CLI::Option*>> added;
  const OptionSpec* rest = nullptr;
  for (const OptionSpec& option : command.options) {
    if (option.rest) {
      rest = &option;
      app.prefix_command();
      continue;
    }
    CLI::Option* handle;
    if (option.value.empty() && !option.positional()) {
      handle = app.add_flag(option.flags, switches.emplace_back());
      handle->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    } else {
      handle = app.add_option(option.flags, values.emplace_back());
      // One value per mention; an option may be given again, the last one counts unless it repeats.
      handle->type_size(1)->expected(option.positional() && option.repeats ? -1 : 1);
      // Else CLI11 would read "[a,b]" as a list.
      handle->allow_extra_args(option.positional() && option.repeats);
      if (!option.positional()) {
        handle->multi_option_policy(option.repeats ? CLI::MultiOptionPolicy::TakeAll : CLI::MultiOptionPolicy::TakeLast);
      }
    }
    added.emplace_back(&option, handle);
  }

  Parsed parsed;
  std::vector<std::string> reversed(words.rbegin(), words.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    parsed.add("help", {});
    return parsed;
  } catch (const CLI::ParseError& error) {
    return std::unexpected(explain(command, app, error));
  }

  for (auto [option, handle] : added) {
    if (handle->count() == 0) continue;
    std::vector<std::string> given = handle->results();
    if (!option->repeats && given.size() > 1) given.erase(given.begin(), given.end() - 1);
    for (const std::string& value : given) {
      if (option->completes != Completes::words || !option->closed || option->value.empty()) continue;
      if (std::ranges::find(option->words, value) != option->words.end()) continue;
      std::string meant = suggestion(value, option->words);
      return fail(fmt::format("'{}' is no value for {}", value, option->positional() ? option->value : "--" + option->key()),
                  fmt::format("it can be {}", fmt::join(option->words, ", ")),
                  meant.empty() ? std::string{} : fmt::format("did you mean '{}'?", meant));
    }
    parsed.add(option->key(), std::move(given));
  }
  if (rest != nullptr && app.remaining_size() > 0) {
    std::vector<std::string> words_left = app.remaining();
    if (words_left[0] == "--") {
      words_left.erase(words_left.begin());
    } else if (words_left[0].size() > 1 && words_left[0].starts_with('-')) {
      return std::unexpected(unexpected_word(command, words_left[0]));
    }
    if (!words_left.empty()) parsed.add(rest->key(), std::move(words_left));
  }
  return parsed;
}

Error unknown_command(const std::string& name) {
  std::vector<std::string> known;
  for (const CommandSpec& command : commands()) known.push_back(command.name);
  std::string meant = suggestion(name, known);
  return Error{fmt::format("unknown command '{}'", name), {},
               meant.empty() ? "see 'nagaya help'" : fmt::format("did you mean 'nagaya {}'?", meant)};
}

}  // namespace nagaya::cli
