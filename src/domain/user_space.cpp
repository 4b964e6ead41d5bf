#include "domain/user_space.hpp"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "container/id_map.hpp"
#include "host/own_process.hpp"
#include "host/fd.hpp"
#include "host/id_ranges.hpp"

namespace nagaya::domain {

/// Maps are written from outside the new user namespace: by a child that waits until it is there.
Result<> enter_user_namespace() {
  TRY_ASSIGN(const auto ranges, host::subordinate_ids());
  TRY_ASSIGN(auto go, host::Fd::pipe());
  TRY_ASSIGN(auto answer, host::Fd::pipe());
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("cannot start a process");
  if (child == 0) {
    go.second.reset();
    char byte = 0;
    (void)!::read(go.first.get(), &byte, 1);
    const auto maps = [](const std::vector<host::IdRange>& from) {
      std::vector<container::IdMap> out;
      for (const auto& range : from) out.push_back({range.inside, range.outside, range.size});
      return out;
    };
    const auto done = container::write_id_maps(parent, maps(ranges.uids), maps(ranges.gids));
    (void)host::write_all(answer.second.get(), done ? std::string("+") : done.error().message());
    ::_exit(0);
  }
  answer.second.reset();
  const bool made = ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
  const int code = errno;
  (void)host::write_all(go.second.get(), "g");
  const auto said = host::read_all(answer.first.get(), 4096, "the maps");
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!made) return fail_errno("cannot make a user namespace", code, "containers of users other than root need them: sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces");
  const std::string text = said ? std::string(said->begin(), said->end()) : "";
  if (text != "+") return fail("cannot set up the user namespace", text);
  return container::become_namespace_root();
}

Result<> in_user_namespace(const std::function<Result<>()>& work) {
  if (::geteuid() == 0) return work();
  return host::in_own_process([&]() -> Result<> {
    TRY(enter_user_namespace());
    return work();
  });
}

}  // namespace nagaya::domain
