// features: what this runtime can do. Source: OCI Runtime Specification 1.1 features.md, features-linux.md.
#include "container/security/security.hpp"
#include "oci/commands.hpp"
#include "oci/json_text.hpp"
#include "oci/options.hpp"

namespace nagaya::oci {
namespace {

std::string mount_options() {
  return quoted_list({"async",         "atime",        "bind",
                      "defaults",      "dev",          "diratime",
                      "dirsync",       "exec",         "idmap",
                      "iversion",      "lazytime",     "loud",
                      "mand",          "noatime",      "nodev",
                      "nodiratime",    "noexec",       "noiversion",
                      "nolazytime",    "nomand",       "norelatime",
                      "nostrictatime", "nosuid",       "nosymfollow",
                      "private",       "ratime",       "rbind",
                      "rdev",          "rdiratime",    "relatime",
                      "remount",       "rexec",        "ridmap",
                      "rnoatime",      "rnodev",       "rnodiratime",
                      "rnoexec",       "rnorelatime",  "rnostrictatime",
                      "rnosuid",       "rnosymfollow", "ro",
                      "rprivate",      "rrelatime",    "rro",
                      "rrw",           "rshared",      "rslave",
                      "rstrictatime",  "rsuid",        "rsymfollow",
                      "runbindable",   "rw",           "shared",
                      "silent",        "slave",        "strictatime",
                      "suid",          "symfollow",    "sync",
                      "tmpcopyup",     "unbindable"});
}

std::string flag(bool value) { return value ? "true" : "false"; }

}  // namespace

Result<int> features_command(const Global&, Words words) {
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, {}, false));
  if (!parsed.arguments.empty()) return fail("features takes no argument");
  const container::SeccompFeatures seccomp = container::seccomp_features();
  const std::string hooks =
      quoted_list({"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"});
  const std::string namespaces = quoted_list({"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"});
  const std::string text =
      "{\"ociVersionMin\":\"1.0.0\",\"ociVersionMax\":\"1.2.0\",\"hooks\":" + hooks +
      ",\"mountOptions\":" + mount_options() + ",\"linux\":{\"namespaces\":" + namespaces +
      ",\"capabilities\":" + quoted_list(container::known_capabilities()) +
      ",\"cgroup\":{\"v1\":true,\"v2\":true,\"systemd\":true,\"systemdUser\":false,\"rdma\":true},\"seccomp\":{"
      "\"enabled\":true,\"actions\":" +
      quoted_list(seccomp.actions) + ",\"operators\":" + quoted_list(seccomp.operators) +
      ",\"archs\":" + quoted_list(seccomp.architectures) + ",\"knownFlags\":" + quoted_list(seccomp.known_flags) +
      ",\"supportedFlags\":" + quoted_list(seccomp.supported_flags) +
      "},\"apparmor\":{\"enabled\":" + flag(container::apparmor_enabled()) +
      "},\"selinux\":{\"enabled\":" + flag(container::selinux_enabled()) +
      "},\"intelRdt\":{\"enabled\":false},\"mountExtensions\":{\"idmap\":{\"enabled\":true}}},\"annotations\":{" +
      "\"org.opencontainers.runtime-spec.features\":\"1.1.0\",\"run.oci.crun.checkpoint.enabled\":\"true\"}}\n";
  TRY(print(text));
  return 0;
}

}  // namespace nagaya::oci
