#include "engine/kvm/ioctl.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <cerrno>

namespace nagaya::engine::kvm {

Result<int> request(int fd, unsigned long number, u64 argument, std::string_view name) {
  int result;
  do {
    result = ::ioctl(fd, number, argument);
  } while (result < 0 && errno == EINTR);
  if (result < 0) {
    const int code = errno;
    return fail_errno(fmt::format("KVM refuses {}", name), code, "use --engine soft");
  }
  return result;
}

}  // namespace nagaya::engine::kvm
