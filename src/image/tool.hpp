// Programs of others that make images: found, run, their words kept for when they fail.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "host/signal.hpp"

namespace nagaya::image {

/// Lets long work end in order when the user or the system asks for it.
class Interrupt {
 public:
  /// Takes SIGINT, SIGTERM, SIGHUP for as long as the process lives; make it before threads start.
  static Result<Interrupt> create();
  /// Error code EINTR once a signal came.
  [[nodiscard]] Result<> check() const;
  [[nodiscard]] int fd() const { return signals_.fd(); }

 private:
  explicit Interrupt(host::SignalFd signals) : signals_(std::move(signals)) {}
  host::SignalFd signals_;
  mutable int came_ = 0;
};

/// How work tells what it is at, and learns that it is to stop.
struct Work {
  std::function<void(const std::string& step)> say = [](const std::string&) {};
  const Interrupt* interrupt = nullptr;
  bool verbose = false;  ///< programs of others print to standard error
  [[nodiscard]] Result<> check() const { return interrupt != nullptr ? interrupt->check() : Result<>{}; }
};

/// Path of a program of that name in PATH or the folders of system programs.
[[nodiscard]] std::optional<std::string> find_tool(const std::string& name);

struct ToolRun {
  std::string name;  ///< of the program
  std::string package;  ///< Debian package that has it, for the error
  std::vector<std::string> args;
  std::string scratch;  ///< folder for what it prints
  std::optional<std::string> output{};  ///< file for its standard output
};
/// Runs it to its end. A failure tells its last words.
[[nodiscard]] Result<> run_tool(const ToolRun& run, const Work& work);

}  // namespace nagaya::image
