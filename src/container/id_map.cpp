#include "container/id_map.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "host/fd.hpp"
#include "host/process.hpp"

namespace nagaya::container {
namespace {

Result<> write_once(const std::string& path, const std::string& text) {
  TRY_ASSIGN(const host::Fd file, host::Fd::open(path, O_WRONLY));
  if (::write(file.get(), text.data(), text.size()) < 0) return fail_errno("cannot write '" + path + "'");
  return {};
}

std::string lines_of(const std::vector<IdMap>& maps) {
  std::string text;
  for (const IdMap& map : maps) {
    text += std::to_string(map.inside) + " " + std::to_string(map.outside) + " " + std::to_string(map.size) + "\n";
  }
  return text;
}

Result<> by_program(const char* program, pid_t pid, const std::vector<IdMap>& maps) {
  host::SpawnOptions options{.program = program, .args = {std::to_string(pid)}};
  for (const IdMap& map : maps) {
    for (const u32 number : {map.inside, map.outside, map.size}) options.args.push_back(std::to_string(number));
  }
  auto child = host::Process::spawn(options);
  if (!child)
    return std::unexpected(
        std::move(child.error()).within("id maps of a rootless container need " + std::string(program)));
  TRY_ASSIGN(const host::ExitStatus status, child->wait());
  if (status.shell_status() != 0) {
    return fail(std::string(program) + " refused the id maps", "", "see the ranges of /etc/subuid and /etc/subgid");
  }
  return {};
}

}  // namespace

Result<> write_id_maps(pid_t pid, const std::vector<IdMap>& uids, const std::vector<IdMap>& gids) {
  const std::string folder = "/proc/" + std::to_string(pid);
  const bool privileged = ::geteuid() == 0;
  const auto own_only = [](const std::vector<IdMap>& maps, u32 own) {
    return maps.size() == 1 && maps[0].size == 1 && maps[0].outside == own;
  };
  if (!gids.empty()) {
    if (privileged) {
      TRY(write_once(folder + "/gid_map", lines_of(gids)));
    } else if (own_only(gids, ::getegid())) {
      // Whoever maps only the own group must give up setgroups first, so that no group that withholds rights is left.
      TRY(write_once(folder + "/setgroups", "deny"));
      TRY(write_once(folder + "/gid_map", lines_of(gids)));
    } else {
      TRY(by_program("newgidmap", pid, gids));
    }
  }
  if (!uids.empty()) {
    if (privileged || own_only(uids, ::geteuid())) {
      TRY(write_once(folder + "/uid_map", lines_of(uids)));
    } else {
      TRY(by_program("newuidmap", pid, uids));
    }
  }
  return {};
}

Result<> become_namespace_root() {
  // Refused where setgroups was given up: then there is nothing to drop either.
  if (::setgroups(0, nullptr) != 0 && errno != EPERM) return fail_errno("cannot drop the groups of the outside");
  if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0) {
    return fail_errno("cannot become root of the user namespace", 0, "its maps must have a line for 0");
  }
  return {};
}

bool rootless() {
  if (::geteuid() != 0) return true;
  auto text = host::read_file("/proc/self/uid_map", 4096);
  if (!text) return false;
  unsigned long inside = 1, outside = 1, size = 0;
  text->push_back(0);
  return std::sscanf(reinterpret_cast<const char*>(text->data()), "%lu %lu %lu", &inside, &outside, &size) == 3 &&
         size != 4294967295UL;
}

}  // namespace nagaya::container
