#include "host/capabilities.hpp"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace nagaya::host {
namespace {

struct Sets {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
};

}  // namespace

Result<Capabilities> own_capabilities() {
  Sets sets;
  if (::syscall(SYS_capget, &sets.header, sets.data) != 0) return fail_errno("cannot learn the capabilities");
  return Capabilities{sets.data[1].permitted} << 32 | sets.data[0].permitted;
}

Result<> keep_capabilities(Capabilities keep) {
  TRY_ASSIGN(const Capabilities have, own_capabilities());
  // The bounding set is about programs started later; to change it takes CAP_SETPCAP.
  if (have >> CAP_SETPCAP & 1) {
    for (unsigned long one = 0; ::prctl(PR_CAPBSET_READ, one, 0, 0, 0) >= 0; ++one) (void)::prctl(PR_CAPBSET_DROP, one, 0, 0, 0);
  }
  keep &= have;
  Sets sets;
  for (unsigned i = 0; i < 2; ++i) sets.data[i].effective = sets.data[i].permitted = static_cast<u32>(keep >> (32 * i));
  if (::syscall(SYS_capset, &sets.header, sets.data) != 0) return fail_errno("cannot give up capabilities");
  return {};
}

}  // namespace nagaya::host
