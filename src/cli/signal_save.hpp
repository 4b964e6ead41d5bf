// SIGUSR1 saves a machine: the open file goes to its process with the command, since that one reaches no file by itself, and
// gets its name here.
#pragma once
#include <optional>
#include <string>

#include "base/result.hpp"
#include "host/fd.hpp"
#include "host/new_file.hpp"

namespace nagaya::cli {

class SignalSave {
 public:
  /// `path` may be empty: there is nothing to save to, which is told when it is asked for.
  static Result<SignalSave> create(std::string path, bool then_exit);

  /// The descriptor for the machine's process (--control-fd); ours to give once.
  [[nodiscard]] host::Fd take_other_end() { return std::move(other_end_); }
  /// Readable when an answer has come, or the machine's process has ended.
  [[nodiscard]] int fd() const { return socket_.get(); }
  /// Asks for a save, unless one is under way.
  [[nodiscard]] Result<> begin();
  /// Call it when fd() is readable. A line for a person when a save is complete.
  [[nodiscard]] Result<std::optional<std::string>> proceed();

 private:
  std::string path_;
  bool then_exit_ = false;
  host::Fd socket_, other_end_;
  std::optional<host::NewFile> file_;  // of the save under way
  std::string answer_;
};

}  // namespace nagaya::cli
