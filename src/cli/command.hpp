// What a command is: the one description from which parsing, help, completion and the manual page are made.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::cli {

/// What a shell offers after an option.
enum class Completes : u8 { nothing, file, words };

struct OptionSpec {
  std::string flags;  ///< "-m,--memory" or "--kernel"; a bare name ("WORD") is an argument by place
  std::string value;  ///< placeholder of the value, as help shows it; empty: a switch
  std::string help;   ///< one sentence, no final point
  Completes completes = Completes::nothing;
  std::vector<std::string> words{};  ///< for Completes::words; `closed` makes any other value an error
  bool closed = true;
  bool repeats = false;
  /// The last argument by place: all words from the first on that is no option, options of another program too
  /// ("nagaya run IMAGE ls -l"). Repeats.
  bool rest = false;
  std::string group{};  ///< title of the list in the help that it stands in; empty: "Options"

  /// The long spelling without dashes ("memory"), by which the value is looked up.
  [[nodiscard]] std::string key() const;
  [[nodiscard]] bool positional() const { return !flags.starts_with('-'); }
};

/// What the user gave. Values of options and switches by key.
class Parsed {
 public:
  void add(const std::string& key, std::vector<std::string> values) { values_[key] = std::move(values); }
  [[nodiscard]] bool has(const std::string& key) const { return values_.contains(key); }
  /// The last one given, or "".
  [[nodiscard]] std::string last(const std::string& key) const;
  [[nodiscard]] const std::vector<std::string>& all(const std::string& key) const;

 private:
  std::map<std::string, std::vector<std::string>> values_;
};

struct Example {
  std::string command, explanation;
};

/// One paragraph of a manual, or a list of "term: text" rows.
struct Section {
  std::string title;
  std::string text{};
  std::vector<std::pair<std::string, std::string>> rows{};
};

struct CommandSpec {
  std::string name, summary;
  std::vector<Example> examples;
  std::vector<OptionSpec> options{};
  std::vector<Section> sections{};
  /// Whether -h is the command's own, so that help is --help alone.
  [[nodiscard]] bool takes_h() const;
  /// Gives the exit code; an error ends with 125.
  std::function<Result<int>(const Parsed&)> run{};
};

/// All commands, in the order help shows them.
[[nodiscard]] const std::vector<CommandSpec>& commands();
/// The command of that name or null.
[[nodiscard]] const CommandSpec* find_command(std::string_view name);

}  // namespace nagaya::cli
