// The commands of `nagaya-oci`: one function each, named in one table (commands.cpp).
#pragma once
#include <optional>
#include <span>
#include <string>

#include "base/result.hpp"
#include "container/container.hpp"

namespace nagaya::oci {

/// What stands before the command's name.
struct Global {
  std::string root;
  bool systemd_cgroup = false;
  bool no_cgroup = false;
  std::optional<bool> rootless;
};

using Words = std::span<char* const>;

struct Command {
  const char* name;
  /// The exit status, or an error that main tells and turns into 1.
  Result<int> (*run)(const Global& global, Words words);
  /// It puts a process of ours into a container: our program's file must not be writable through it.
  bool enters = false;
  const char* usage;
  const char* does;
};

std::span<const Command> commands();

Result<int> create_command(const Global& global, Words words);
Result<int> run_command(const Global& global, Words words);
Result<int> start_command(const Global& global, Words words);
Result<int> state_command(const Global& global, Words words);
Result<int> kill_command(const Global& global, Words words);
Result<int> delete_command(const Global& global, Words words);
Result<int> pause_command(const Global& global, Words words);
Result<int> resume_command(const Global& global, Words words);
Result<int> list_command(const Global& global, Words words);
Result<int> ps_command(const Global& global, Words words);
Result<int> exec_command(const Global& global, Words words);
Result<int> update_command(const Global& global, Words words);
Result<int> events_command(const Global& global, Words words);
Result<int> checkpoint_command(const Global& global, Words words);
Result<int> restore_command(const Global& global, Words words);
Result<int> spec_command(const Global& global, Words words);
Result<int> features_command(const Global& global, Words words);

/// To standard output, whole.
Result<> print(std::string_view text);
/// Descriptors 3 to 2 + count are open: else our own would take their numbers and be given away.
Result<> check_preserved(int count);
/// The one argument a command takes.
Result<std::string> only_argument(const std::vector<std::string>& arguments, const char* what);

}  // namespace nagaya::oci
