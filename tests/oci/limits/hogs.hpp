// Two containers side by side: one that takes what it can get, and its neighbour.
#pragma once
#include <string>

#include "cgroup/cgroup.hpp"
#include "oci/bundle.hpp"

namespace nagaya::oci_test {

/// A container that runs `script` in the background under `resources`, until the end of the scope.
class Running {
 public:
  Running(const std::string& script, const Json& resources, const Json& mounts = Json::array());
  /// Empty when it runs; else why not.
  [[nodiscard]] const std::string& failure() const { return failure_; }
  /// `sh -c script` in it, from outside.
  Outcome exec(const std::string& script) { return bundle_.oci({"exec", "c", "/bin/sh", "-c", script}); }
  /// Its use of resources now.
  [[nodiscard]] cgroup::Stats stats() const;
  /// A file of its group, without the end of the line; empty where there is none.
  [[nodiscard]] std::string file(const std::string& controller, const std::string& name) const;
  Bundle& bundle() { return bundle_; }

 private:
  Bundle bundle_;
  std::string failure_;
};

/// Waits until `what` is so; false after half a minute.
template <class F>
bool soon(F&& what);

bool wait_a_little(int round);
template <class F>
bool soon(F&& what) {
  for (int round = 0; !what(); ++round) {
    if (!wait_a_little(round)) return false;
  }
  return true;
}

}  // namespace nagaya::oci_test
