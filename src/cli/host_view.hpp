// What doctor looks at: files of the host and a few attempts, behind one object so that tests can show it another host.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/types.hpp"

namespace nagaya::cli {

/// The program CRIU, which saves containers.
struct CriuView {
  std::string path, version;            ///< empty: none that can be used
  std::string problem;                  ///< why not
  std::vector<std::string> complaints;  ///< what it says is missing here
};

class HostView {
 public:
  /// `root` is put before every path ("" for this host).
  explicit HostView(std::string root = {}) : root_(std::move(root)) {}
  virtual ~HostView() = default;

  /// Content of a small file without blanks at its end, or nothing when it cannot be read.
  [[nodiscard]] std::optional<std::string> text(const std::string& path) const;
  [[nodiscard]] bool exists(const std::string& path) const;
  [[nodiscard]] bool writable(const std::string& path) const;
  /// errno of opening for reading and writing, 0 when it can be opened.
  [[nodiscard]] virtual int open_error(const std::string& path) const;

  /// errno of making a user namespace (in a child), 0 when it works.
  [[nodiscard]] virtual int user_namespace_error() const;
  /// errno of mounting an overlay over folders of the state folder's file system, as a container's root is, 0 when it works.
  [[nodiscard]] virtual int overlay_error() const;
  /// errno of io_uring_setup, 0 when it works.
  [[nodiscard]] virtual int io_uring_error() const;
  /// errno of userfaultfd for user-mode faults, 0 when it works.
  [[nodiscard]] virtual int userfaultfd_error() const;
  /// Whether FSGSBASE is usable from user mode (AT_HWCAP2 bit 1).
  [[nodiscard]] virtual bool fsgsbase() const;
  [[nodiscard]] virtual unsigned cpus() const;
  [[nodiscard]] virtual bool is_root() const;
  /// Whether a program of the system, or one of ours (nagaya-…), is there.
  [[nodiscard]] virtual bool has_program(const std::string& name) const;
  /// What nft says when it cannot list its tables, or ""; without root nothing can be told.
  [[nodiscard]] virtual std::string nftables_problem() const;
  /// Which CRIU is used, and what it lacks here.
  [[nodiscard]] virtual CriuView criu() const;
  /// What nagaya-vmm found out about engines, as JSON, or "" when it could not be asked.
  [[nodiscard]] virtual std::string engine_probe() const;

 private:
  std::string root_;
};

}  // namespace nagaya::cli
