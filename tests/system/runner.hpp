// Runs the nagaya command as a user would, and gives back what came of it.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

namespace nagaya::system_test {

using Words = std::vector<std::string>;

/// A running command. Its output is collected while wait functions run; the destructor kills it.
class Command {
 public:
  enum class Input { none, pipe, terminal };

  /// `words` come after the program's name. With `terminal` the command gets a pseudo-terminal as its standard input and
  /// output (standard error, too); otherwise pipes, and no input at all unless `pipe`.
  explicit Command(const Words& words, Input input = Input::none);
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  ~Command();

  /// Waits until standard output contains `text` from position `from` on; false when the command ended or time is up.
  bool wait_for(const std::string& text, double seconds = 120, std::size_t from = 0);
  /// Waits for the end; false (and killed) when time is up.
  bool wait_end(double seconds = 120);
  void send(const std::string& text);
  void close_input();
  void signal(int number) const;

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// The process of the machine itself, or -1.
  [[nodiscard]] pid_t vmm_pid() const;
  [[nodiscard]] const std::string& output() const { return out_; }
  [[nodiscard]] const std::string& errors() const { return err_; }
  /// As a shell tells it: 128 + n after signal n; -1 while it runs, -2 when time was up and it was killed.
  [[nodiscard]] int exit_code() const { return exit_code_; }
  /// The other end of the terminal.
  [[nodiscard]] int terminal() const { return in_; }

 private:
  bool pump(double seconds);  // reads what there is, waiting at most that long; false at the end of all streams
  bool reap(bool block);

  pid_t pid_ = -1;
  int in_ = -1, out_fd_ = -1, err_fd_ = -1;
  std::string out_, err_;
  int exit_code_ = -1;
};

/// Runs to the end with a limit of `seconds`; exit_code() is -1 when time was up.
struct Outcome {
  int code = -1;
  std::string output, errors;
};
[[nodiscard]] Outcome run(const Words& words, double seconds = 120);

/// Path of the program under test, of a small guest, of a file of the Debian guests.
[[nodiscard]] std::string nagaya();
[[nodiscard]] std::string small_guest(const std::string& name);
[[nodiscard]] std::string debian(const std::string& name);

/// "run --kernel <small guest> --engine E --no-reboot --debug-exit --append …" and more.
[[nodiscard]] Words small_run(const std::string& guest, const std::string& engine, const std::string& append = {},
                              const Words& more = {});
/// The same for a Debian kernel; `commands` run in the guest, then it powers off.
[[nodiscard]] Words debian_run(const std::string& commands, const Words& more = {}, const std::string& arch = "amd64",
                               const std::string& kernel = "vmlinuz");

/// Engines that can run the small guests here: "soft", and "kvm" where the host's KVM is usable at all.
[[nodiscard]] const std::vector<std::string>& engines();

/// CPU time (user and system, seconds) a process has used so far.
[[nodiscard]] double cpu_seconds(pid_t pid);
/// A path in a folder of this test alone, which is removed at the end of the process.
[[nodiscard]] std::string scratch(const std::string& name);
void sleep_for(double seconds);

}  // namespace nagaya::system_test
