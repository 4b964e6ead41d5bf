// Limits and the score by which the kernel chooses whom to end when memory runs out.
#include <sys/resource.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "container/security/procfs.hpp"
#include "container/security/security.hpp"

namespace nagaya::container {
namespace {

struct LimitName {
  std::string_view name;
  __rlimit_resource resource;
};
constexpr std::array limit_names = {
    LimitName{"RLIMIT_AS", RLIMIT_AS},
    LimitName{"RLIMIT_CORE", RLIMIT_CORE},
    LimitName{"RLIMIT_CPU", RLIMIT_CPU},
    LimitName{"RLIMIT_DATA", RLIMIT_DATA},
    LimitName{"RLIMIT_FSIZE", RLIMIT_FSIZE},
    LimitName{"RLIMIT_LOCKS", RLIMIT_LOCKS},
    LimitName{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
    LimitName{"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
    LimitName{"RLIMIT_NICE", RLIMIT_NICE},
    LimitName{"RLIMIT_NOFILE", RLIMIT_NOFILE},
    LimitName{"RLIMIT_NPROC", RLIMIT_NPROC},
    LimitName{"RLIMIT_RSS", RLIMIT_RSS},
    LimitName{"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
    LimitName{"RLIMIT_RTTIME", RLIMIT_RTTIME},
    LimitName{"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    LimitName{"RLIMIT_STACK", RLIMIT_STACK},
};

Result<> set_one(const Rlimit& limit) {
  for (const auto& known : limit_names) {
    if (known.name != limit.type) continue;
    if (limit.soft > limit.hard) return fail(limit.type + ": the soft limit is above the hard one");
    const rlimit64 value{limit.soft, limit.hard};
    if (::setrlimit64(known.resource, &value) == 0) return {};
    const int code = errno;
    rlimit64 now{};
    ::getrlimit64(known.resource, &now);
    if (code == EPERM && limit.hard > now.rlim_max) {
      return fail_errno(
          "cannot raise " + limit.type + " from " + std::to_string(now.rlim_max) + " to " + std::to_string(limit.hard),
          code,
          "raising a hard limit needs CAP_SYS_RESOURCE, which this process lacks; ask for at most " +
              std::to_string(now.rlim_max));
    }
    return fail_errno("cannot set " + limit.type, code);
  }
  return fail("'" + limit.type + "' is no limit that this kernel knows");
}

}  // namespace

Result<> set_rlimits(const std::vector<Rlimit>& limits) {
  for (const Rlimit& limit : limits) TRY(set_one(limit));
  return {};
}

Result<> set_oom_score(int adjustment) {
  TRY_ASSIGN(const host::Fd procfs, open_procfs());
  auto done = write_proc_file(procfs, "self/oom_score_adj", std::to_string(adjustment));
  if (!done && done.error().code == EACCES)
    done.error().hint = "lowering it needs CAP_SYS_RESOURCE, which this process lacks";
  return done;
}

}  // namespace nagaya::container
