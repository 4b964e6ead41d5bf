// The program of a container: arguments, environment, user; and the files of /etc that depend on where it runs.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "container/root/root.hpp"
#include "domain/container_spec.hpp"
#include "init/user.hpp"

namespace nagaya::domain {
namespace {

constexpr std::size_t longest_user_file = 16 * MiB;

/// A file of the root as text; empty when it is not there or no plain file.
std::string text_in_root(const host::Fd& root, const char* path) {
  const auto found = container::open_in_root(root.get(), path, false, false);
  if (!found) return {};
  // The descriptor names the file; opened through it, nothing can be put in its place.
  const host::Fd file(::open(fmt::format("/proc/self/fd/{}", found->get()).c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file) return {};
  const auto bytes = host::read_all(file.get(), longest_user_file, path);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

void set_variable(std::vector<std::string>& env, const std::string& pair) {
  const std::string name = pair.substr(0, pair.find('=') + 1);
  const auto old = std::ranges::find_if(env, [&](const std::string& other) { return other.starts_with(name); });
  if (old != env.end()) {
    *old = pair;
  } else {
    env.push_back(pair);
  }
}

bool has_variable(const std::vector<std::string>& env, std::string_view name) {
  return std::ranges::any_of(env, [&](const std::string& pair) { return pair.starts_with(name) && pair.size() > name.size() && pair[name.size()] == '='; });
}

}  // namespace

Result<ContainerUser> resolve_user(const std::string& rootfs, const std::string& user) {
  TRY_ASSIGN(const host::Fd root, host::Fd::open(rootfs, O_PATH | O_DIRECTORY));
  TRY_ASSIGN(const init::Identity identity, init::identity_of(user, text_in_root(root, "/etc/passwd"), text_in_root(root, "/etc/group")));
  return ContainerUser{identity.uid, identity.gid, identity.groups, identity.home};
}

Result<std::vector<std::string>> container_args(const ContainerDefinition& definition, const image::OciConfig& image) {
  std::vector<std::string> out;
  if (definition.system && definition.command.empty() && !definition.entrypoint) return std::vector<std::string>{"/sbin/init"};
  const std::vector<std::string>& entrypoint = definition.entrypoint ? *definition.entrypoint : image.entrypoint;
  out.insert(out.end(), entrypoint.begin(), entrypoint.end());
  // An entry point of the user's own does not take the image's arguments.
  const std::vector<std::string>& command = !definition.command.empty() || definition.entrypoint ? definition.command : image.cmd;
  out.insert(out.end(), command.begin(), command.end());
  std::erase_if(out, [first = true](const std::string& word) mutable { return std::exchange(first, false) && word.empty(); });
  if (out.empty()) return fail(fmt::format("image '{}' names no program to run", definition.image_name), {}, "give one after the image");
  return out;
}

std::vector<std::string> container_env(const ContainerDefinition& definition, const image::OciConfig& image, const ContainerUser& user) {
  std::vector<std::string> out = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  for (const std::string& pair : image.env) set_variable(out, pair);
  // systemd and others look for it.
  set_variable(out, "container=oci");
  if (definition.terminal && !has_variable(out, "TERM")) set_variable(out, "TERM=xterm");
  set_variable(out, "HOSTNAME=" + (definition.hostname.empty() ? definition.name : definition.hostname));
  for (const std::string& pair : definition.env) set_variable(out, pair);
  if (!has_variable(out, "HOME")) set_variable(out, "HOME=" + user.home);
  return out;
}

std::string hosts_file(const std::string& hostname, const std::string& address, const std::vector<std::string>& more) {
  std::string out = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
  for (const std::string& entry : more) {
    const std::size_t colon = entry.find(':');
    out += entry.substr(colon + 1) + "\t" + entry.substr(0, colon) + "\n";
  }
  const std::string own = address.substr(0, address.find('/'));
  return out + (own.empty() ? "127.0.1.1" : own) + "\t" + hostname + "\n";
}

std::string resolv_conf_file(const std::vector<std::string>& servers) {
  std::string out;
  for (const std::string& server : servers) out += "nameserver " + server + "\n";
  return out;
}

}  // namespace nagaya::domain
