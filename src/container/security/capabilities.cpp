// Capabilities and the change of user, by system calls: nothing here needs a library. Source: capabilities(7),
// capset(2).
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "container/security/procfs.hpp"
#include "container/security/security.hpp"

namespace nagaya::container {
namespace {

// In the order of their numbers, linux/capability.h.
constexpr std::array names = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};

struct Sets {
  u64 effective = 0, permitted = 0, inheritable = 0;
};

Result<Sets> current() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return fail_errno("cannot read the capabilities");
  const auto whole = [](u32 low, u32 high) { return static_cast<u64>(high) << 32 | low; };
  return Sets{whole(data[0].effective, data[1].effective), whole(data[0].permitted, data[1].permitted),
              whole(data[0].inheritable, data[1].inheritable)};
}

Result<> change(const Sets& sets) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const auto low = [](u64 set) { return static_cast<u32>(set); };
  const auto high = [](u64 set) { return static_cast<u32>(set >> 32); };
  const std::array data = {__user_cap_data_struct{low(sets.effective), low(sets.permitted), low(sets.inheritable)},
                           __user_cap_data_struct{high(sets.effective), high(sets.permitted), high(sets.inheritable)}};
  if (::syscall(SYS_capset, &header, data.data()) != 0) return fail_errno("cannot set the capabilities");
  return {};
}

/// Bits of the names; those unknown or outside `allowed` go to `missing`.
u64 bits(const std::vector<std::string>& wanted, u64 allowed, std::vector<std::string>* missing) {
  u64 out = 0;
  for (const std::string& name : wanted) {
    const auto found = std::ranges::find(names, name);
    const u64 bit = found == names.end() ? 0 : 1ull << (found - names.begin());
    if ((bit & allowed) != 0) {
      out |= bit;
    } else if (missing != nullptr && std::ranges::find(*missing, name) == missing->end()) {
      missing->push_back(name);
    }
  }
  return out;
}

bool groups_denied() {
  const auto procfs = open_procfs();
  if (!procfs) return false;
  const auto file = open_proc_file(*procfs, "self/setgroups", O_RDONLY);
  std::array<char, 8> text{};
  return file && ::read(file->get(), text.data(), text.size() - 1) > 0 &&
         std::string_view(text.data()).starts_with("deny");
}

Result<> set_groups(const User& user) {
  const std::vector<gid_t> groups(user.additional_gids.begin(), user.additional_gids.end());
  if (::setgroups(groups.size(), groups.data()) == 0) return {};
  const int code = errno;
  const bool denied = code == EPERM && groups_denied();
  // Where a user namespace forbids to drop groups, having asked for none is no wish that fails.
  if (denied && groups.empty()) return {};
  return fail_errno("cannot set the additional groups", code,
                    denied           ? "this user namespace forbids it: its group map was written without rights"
                    : code == EINVAL ? "a group has no number in the user namespace"
                                     : "");
}

Result<> raise_ambient(u64 wanted, u64 possible, std::vector<std::string>* missing) {
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL)
    return fail_errno("cannot clear the ambient capabilities");
  for (unsigned long number = 0; number < names.size(); ++number) {
    const u64 bit = 1ull << number;
    if ((wanted & bit) == 0) continue;
    if ((possible & bit) == 0) {
      // The kernel keeps ambient ones within the permitted and the inheritable.
      if (missing != nullptr && std::ranges::find(*missing, names[number]) == missing->end())
        missing->push_back(names[number]);
      continue;
    }
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) != 0)
      return fail_errno(std::string("cannot make ") + names[number] + " ambient");
  }
  return {};
}

}  // namespace

Result<> drop_bounding_set(const Capabilities& capabilities) {
  const u64 keep = bits(capabilities.bounding, ~0ull, nullptr);
  for (unsigned long number = 0; number < 64; ++number) {
    if ((keep >> number & 1) != 0) continue;
    if (::prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) break;  // past the last that this kernel knows
    if (errno == EPERM && ::prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 0) continue;
    return fail_errno("cannot drop capabilities from the bounding set");
  }
  return {};
}

Result<> become_user(const User& user, const Capabilities& capabilities, std::vector<std::string>* missing) {
  TRY_ASSIGN(const Sets have, current());
  Sets next;
  bits(capabilities.bounding, have.permitted, missing);
  next.permitted = bits(capabilities.permitted, have.permitted, missing);
  next.effective = bits(capabilities.effective, have.permitted, missing) & next.permitted;
  next.inheritable = bits(capabilities.inheritable, have.permitted, missing);
  const u64 ambient = bits(capabilities.ambient, have.permitted, missing);
  // Bits that survive the change of user are taken away below, whatever happens: capset comes last.
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return fail_errno("cannot keep capabilities over the change of user");
  TRY(set_groups(user));
  const auto unmapped = [](int code) { return code == EINVAL ? "it has no number in the user namespace" : ""; };
  if (::setresgid(user.gid, user.gid, user.gid) != 0) {
    const int code = errno;
    return fail_errno("cannot become group " + std::to_string(user.gid), code, unmapped(code));
  }
  if (::setresuid(user.uid, user.uid, user.uid) != 0) {
    const int code = errno;
    return fail_errno("cannot become user " + std::to_string(user.uid), code, unmapped(code));
  }
  if (::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0) return fail_errno("cannot end the keeping of capabilities");
  ::umask(user.umask.value_or(022));
  TRY(change(next));
  return raise_ambient(ambient, next.permitted & next.inheritable, missing);
}

std::vector<std::string> missing_capabilities(const Capabilities& capabilities) {
  std::vector<std::string> out;
  const auto have = current();
  if (!have) return out;
  for (const auto* set : {&capabilities.bounding, &capabilities.permitted, &capabilities.effective,
                          &capabilities.inheritable, &capabilities.ambient}) {
    bits(*set, have->permitted, &out);
  }
  return out;
}

std::vector<std::string> known_capabilities() {
  std::size_t count = names.size();
  std::array<char, 16> text{};
  const auto procfs = open_procfs();
  if (procfs) {
    const auto file = open_proc_file(*procfs, "sys/kernel/cap_last_cap", O_RDONLY);
    if (file && ::read(file->get(), text.data(), text.size() - 1) > 0)
      count = std::min<std::size_t>(count, std::strtoul(text.data(), nullptr, 10) + 1);
  }
  return {names.begin(), names.begin() + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace nagaya::container
