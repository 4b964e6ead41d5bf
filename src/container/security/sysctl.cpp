// Kernel parameters, only those that belong to a namespace of the container's own. Source: sysctl(8); what is whose:
// Linux Documentation/admin-guide/sysctl/{kernel,net}.rst, ipc_namespaces(7).
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "container/security/procfs.hpp"
#include "container/security/security.hpp"

namespace nagaya::container {
namespace {

constexpr std::array<std::string_view, 8> ipc_names = {"kernel/msgmax", "kernel/msgmnb",         "kernel/msgmni",
                                                       "kernel/sem",    "kernel/shmall",         "kernel/shmmax",
                                                       "kernel/shmmni", "kernel/shm_rmid_forced"};
constexpr std::array<std::string_view, 3> ipc_next_ids = {"kernel/msg_next_id", "kernel/sem_next_id",
                                                          "kernel/shm_next_id"};

template <std::size_t size>
bool contains(const std::array<std::string_view, size>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

/// "net.ipv4.conf.eth0/1.forwarding" → "net/ipv4/conf/eth0.1/forwarding": what separates first is the separator, the
/// other character stands for itself (sysctl.d(5)).
std::string path_of(std::string_view key) {
  const std::size_t first = key.find_first_of("./");
  std::string out(key);
  if (first == std::string_view::npos || key[first] == '/') return out;
  for (char& c : out) c = c == '.' ? '/' : c == '/' ? '.' : c;
  return out;
}

bool well_formed(std::string_view path) {
  while (true) {
    const std::string_view part = path.substr(0, path.find('/'));
    if (part.empty() || part == "." || part == "..") return false;
    if (part.size() == path.size()) return true;
    path.remove_prefix(part.size() + 1);
  }
}

std::optional<NamespaceKind> owner_of(std::string_view path) {
  if (contains(ipc_names, path) || contains(ipc_next_ids, path) || path.starts_with("fs/mqueue/"))
    return NamespaceKind::ipc;
  if (path.starts_with("net/")) return NamespaceKind::network;
  if (path == "kernel/domainname" || path == "kernel/hostname") return NamespaceKind::uts;
  return std::nullopt;
}

const char* name_of(NamespaceKind kind) {
  return kind == NamespaceKind::ipc ? "ipc" : kind == NamespaceKind::network ? "network" : "uts";
}

}  // namespace

Result<> set_sysctls(const Map& values, const std::vector<Namespace>& namespaces) {
  if (values.empty()) return {};
  for (const auto& [key, value] : values) {
    const std::string path = path_of(key);
    if (!well_formed(path)) return fail("sysctl '" + key + "' is no parameter's name");
    const auto owner = owner_of(path);
    if (!owner) return fail("sysctl '" + key + "' belongs to no namespace", "setting it would change the host");
    if (std::ranges::none_of(namespaces, [&](const Namespace& one) { return one.kind == *owner; })) {
      return fail("sysctl '" + key + "' would change the host",
                  std::string("the container has no ") + name_of(*owner) + " namespace of its own");
    }
  }
  TRY_ASSIGN(const host::Fd procfs, open_procfs());
  for (const auto& [key, value] : values) {
    if (auto done = write_proc_file(procfs, "sys/" + path_of(key), value); !done)
      return std::unexpected(std::move(done.error()).within("sysctl '" + key + "'"));
  }
  return {};
}

}  // namespace nagaya::container
