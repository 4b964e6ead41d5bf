// A bundle with a small root (busybox) and a configuration that a test changes, and the runtime that runs it as podman
// would.
#pragma once
#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace nagaya::oci_test {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

struct Outcome {
  int code = -1;  ///< as a shell tells it; -1: killed, because time was up
  std::string out, err;
};

/// Runs a program to its end, at most a minute.
Outcome run_program(const Words& words, const std::string& input = "");
/// Why containers cannot be tested here; empty: they can.
std::string missing();

class Bundle {
 public:
  Bundle();
  Bundle(const Bundle&) = delete;
  Bundle& operator=(const Bundle&) = delete;
  /// Removes containers and files.
  ~Bundle();

  Json config;         ///< written before each command that reads it
  std::string path;    ///< the bundle
  std::string rootfs;  ///< its root on the host
  std::string root;    ///< the runtime's --root

  /// The runtime with these words after --root.
  Outcome oci(const Words& words, const std::string& input = "");
  /// `oci({"run", …, "c"})` of `sh -c script`.
  Outcome run(const std::string& script);
  void process(const Words& args) { config["process"]["args"] = args; }
  void script(const std::string& text) { process({"/bin/sh", "-c", text}); }
  void write_config() const;
  /// Status, pid … of a container as `state` prints it; null when there is none.
  Json state(const std::string& id);
  /// Waits until the container has that status; false after ten seconds.
  bool wait_status(const std::string& id, const std::string& status);
  /// Removes a namespace of this kind from the configuration, or sets its path.
  void without_namespace(const std::string& type);
  void add_namespace(const std::string& type, const std::string& path = "");
  /// Removes the mounts of this type.
  void without_mounts(const std::string& type);
  /// Ids 0… of the container are 100000… of the host; the root is given to them.
  void with_user_namespace();
  void write(const std::string& name, const std::string& content) const;  ///< below the bundle's folder
  [[nodiscard]] std::string read(const std::string& name) const;
  /// Folders of cgroups the container "c" would have, that are there now.
  [[nodiscard]] std::vector<std::string> cgroups() const;

 private:
  std::string folder_;
};

/// The program under test.
std::string runtime();

}  // namespace nagaya::oci_test

/// First line of each test: skips with a reason where containers cannot be made.
#define NEEDS_CONTAINERS() \
  if (const std::string why = nagaya::oci_test::missing(); !why.empty()) GTEST_SKIP() << why
