#include "domain/container_join.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "container/container.hpp"
#include "container/id_map.hpp"
#include "container/root/kernel_mounts.hpp"
#include "container/root/root.hpp"
#include "host/passing.hpp"

namespace nagaya::domain {
namespace {

constexpr std::string_view prefix = "container:";

/// All places of a definition that may name another container.
std::vector<std::string*> modes_of(ContainerDefinition& definition) {
  std::vector<std::string*> out = {&definition.pid, &definition.ipc, &definition.uts};
  for (std::string& network : definition.networks) out.push_back(&network);
  return out;
}

Result<Container> running_container(const ContainerStore& store, const std::string& name) {
  auto found = store.find(name);
  if (!found) return std::unexpected(std::move(found.error()).within("the container to be joined"));
  if (!store.running(*found)) {
    return fail(fmt::format("container '{}', which is to be joined, does not run", found->definition.name), {}, fmt::format("'nagaya start {}' starts it", found->definition.name));
  }
  return found;
}

/// Its first process, which is surely still its own: the runtime compares its start time.
Result<pid_t> first_process(const Container& container) {
  TRY_ASSIGN(const auto state, container::state(container.places.oci, container.definition.name));
  if (state.status == container::Status::running || state.status == container::Status::paused) return state.pid;
  return fail(fmt::format("container '{}', which is to be joined, has no process now", container.definition.name), "it is being started or stopped");
}

/// Opens files of /proc/PID of its first process. That one is looked at before and after: the number was not another's meanwhile.
Result<> open_spaces(const Container& container, const std::vector<std::pair<const char*, host::Fd*>>& wanted) {
  TRY_ASSIGN(const pid_t pid, first_process(container));
  TRY_ASSIGN(const host::Fd folder, host::Fd::open(fmt::format("/proc/{}", pid), O_PATH | O_DIRECTORY));
  for (const auto& [name, out] : wanted) {
    *out = host::Fd(::openat(folder.get(), name, O_RDONLY | O_CLOEXEC));
    if (!*out) return fail_errno(fmt::format("cannot open '{}' of container '{}'", name, container.definition.name));
  }
  TRY_ASSIGN(const pid_t still, first_process(container));
  if (still != pid) return fail(fmt::format("container '{}' has just been started again", container.definition.name), {}, "try once more");
  return {};
}

/// A mount can be cloned only in the mount namespace it is in: by a child.
Result<host::Fd> clone_shm(const Container& container) {
  host::Fd mounts, root;
  TRY(open_spaces(container, {{"ns/mnt", &mounts}, {"root", &root}}));
  TRY_ASSIGN(auto ends, host::Fd::socketpair());
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("cannot start a process");
  if (child == 0) {
    if (::setns(mounts.get(), CLONE_NEWNS) != 0) ::_exit(1);
    // Its links lead nowhere but into its root, and not through our descriptors.
    const auto place = container::open_in_root(root.get(), "/dev/shm", false, false);
    const auto tree = place ? container::clone_tree(place->get(), "", true) : Result<host::Fd>(std::unexpected(place.error()));
    ::_exit(tree && host::send_passing(ends.second.get(), "+", tree->get()) ? 0 : 1);
  }
  ends.second.reset();
  std::array<char, 1> byte{};
  auto passed = host::receive_passing(ends.first.get(), byte);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!passed || !passed->fd) return fail(fmt::format("cannot share the memory of container '{}'", container.definition.name), "its /dev/shm cannot be had");
  return std::move(passed->fd);
}

std::string text_of(const std::string& path) {
  const auto bytes = host::read_file(path, 64 * KiB);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

}  // namespace

std::optional<std::string> joined_name(const std::string& mode) {
  if (!mode.starts_with(prefix)) return std::nullopt;
  return mode.substr(prefix.size());
}

bool joins_others(const ContainerDefinition& definition) {
  ContainerDefinition copy = definition;
  for (const std::string* mode : modes_of(copy)) {
    if (joined_name(*mode)) return true;
  }
  return false;
}

Result<> resolve_joined(const ContainerStore& store, ContainerDefinition& definition) {
  for (std::string* mode : modes_of(definition)) {
    const auto name = joined_name(*mode);
    if (!name) continue;
    TRY_ASSIGN(const Container other, running_container(store, *name));
    *mode = std::string(prefix) + other.definition.id;
  }
  return {};
}

Result<JoinedSpaces> join_spaces(const ContainerStore& store, const ContainerDefinition& definition) {
  JoinedSpaces out;
  for (const auto& [mode, file, fd] : {std::tuple{&definition.pid, "ns/pid", &out.pid}, {&definition.ipc, "ns/ipc", &out.ipc}, {&definition.uts, "ns/uts", &out.uts}}) {
    const auto name = joined_name(*mode);
    if (!name) continue;
    TRY_ASSIGN(const Container other, running_container(store, *name));
    TRY(open_spaces(other, {{file, fd}}));
    if (fd == &out.pid && ::access("/proc/self/ns/time", F_OK) == 0) TRY(open_spaces(other, {{"ns/time", &out.time}}));
    if (fd != &out.ipc) continue;
    TRY_ASSIGN(out.shm, clone_shm(other));
  }
  for (const std::string& network : definition.networks) {
    const auto name = joined_name(network);
    if (!name) continue;
    TRY_ASSIGN(const Container other, running_container(store, *name));
    TRY(open_spaces(other, {{"ns/net", &out.network}}));
    out.address = store.status(other).address;
    out.hosts = text_of(other.places.runtime + "/hosts");
    out.resolv_conf = text_of(other.places.runtime + "/resolv.conf");
  }
  return out;
}

Result<> enter_joined_user_namespace(const ContainerStore& store, const ContainerDefinition& definition) {
  ContainerDefinition copy = definition;
  host::Fd space;
  struct stat seen {};
  for (const std::string* mode : modes_of(copy)) {
    const auto name = joined_name(*mode);
    if (!name) continue;
    TRY_ASSIGN(const Container other, running_container(store, *name));
    host::Fd its;
    TRY(open_spaces(other, {{"ns/user", &its}}));
    struct stat info {};
    if (::fstat(its.get(), &info) != 0) return fail_errno("cannot look at a user namespace");
    if (space && (info.st_ino != seen.st_ino || info.st_dev != seen.st_dev)) {
      return fail("the containers to be joined have different user namespaces", "without root a process can be in one only", "let the second of them join the first, too");
    }
    seen = info;
    space = std::move(its);
  }
  if (::setns(space.get(), CLONE_NEWUSER) != 0) return fail_errno("cannot join the user namespace of another container");
  if (::unshare(CLONE_NEWNS) != 0) return fail_errno("cannot make a mount namespace");
  return container::become_namespace_root();
}

}  // namespace nagaya::domain
