#include "host/dirs.hpp"

#include <unistd.h>

#include <cstdlib>

namespace nagaya::host {
namespace {

/// An absolute path from the environment, or "" (relative ones are to be ignored, says XDG).
std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && value[0] == '/' ? value : "";
}

std::string choose(const char* own, const char* system, const char* xdg, const std::string& fallback) {
  if (std::string path = from_environment(own); !path.empty()) return path;
  if (::geteuid() == 0) return system;
  if (std::string path = from_environment(xdg); !path.empty()) return path + "/nagaya";
  return fallback;
}

std::string home() {
  const std::string path = from_environment("HOME");
  return path.empty() ? "/tmp" : path;
}

}  // namespace

Result<> check_dirs() {
  for (const char* name : {"NAGAYA_STATE_DIR", "NAGAYA_RUNTIME_DIR", "NAGAYA_CACHE_DIR"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0' && *value != '/') return fail(name, std::string("'") + value + "' is no absolute path");
  }
  return {};
}

std::string state_dir() { return choose("NAGAYA_STATE_DIR", "/var/lib/nagaya", "XDG_STATE_HOME", home() + "/.local/state/nagaya"); }

std::string runtime_dir() {
  return choose("NAGAYA_RUNTIME_DIR", "/run/nagaya", "XDG_RUNTIME_DIR", "/tmp/nagaya-" + std::to_string(::geteuid()));
}

std::string cache_dir() { return choose("NAGAYA_CACHE_DIR", "/var/cache/nagaya", "XDG_CACHE_HOME", home() + "/.cache/nagaya"); }

}  // namespace nagaya::host
