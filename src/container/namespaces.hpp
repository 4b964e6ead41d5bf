// Which namespaces the container gets: new ones, and ones joined by path. Source: OCI Runtime Specification 1.1
// config-linux.md "Namespaces", namespaces(7).
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "container/spec/spec.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

/// CLONE_NEW… of a kind.
unsigned clone_flag(NamespaceKind kind);

class NamespacePlan {
 public:
  /// Opens the paths and checks their kinds, each kind at most once.
  static Result<NamespacePlan> make(const std::vector<Namespace>& namespaces);

  [[nodiscard]] unsigned fresh() const { return fresh_; }
  [[nodiscard]] bool is_fresh(NamespaceKind kind) const { return (fresh_ & clone_flag(kind)) != 0; }
  [[nodiscard]] bool joins(NamespaceKind kind) const;
  /// A process of its own must join before the first one is made: a PID namespace counts for children only, and rights
  /// over namespaces of the outside end where a user namespace begins.
  [[nodiscard]] bool needs_helper() const;
  /// Joins what has not been joined yet, of `flags`. With `lenient` what is refused (EPERM) is left for later.
  Result<> join(unsigned flags, bool lenient);

 private:
  struct Joined {
    NamespaceKind kind;
    std::string path;
    host::Fd fd;
    bool done = false;
  };
  unsigned fresh_ = 0;
  std::vector<Joined> joined_;
};

/// Joins the new time namespace of the calling (only) thread after its offsets are set (time_namespaces(7)).
Result<> enter_new_time_namespace(const Linux& config);

/// clone3 with `flags` (CLONE_NEW…, CLONE_PARENT): 0 in the child, as fork.
Result<pid_t> clone_process(u64 flags);

}  // namespace nagaya::container
