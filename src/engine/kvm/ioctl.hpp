// One request to a KVM descriptor, as a Result.
#pragma once
#include <linux/kvm.h>

#include <string_view>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::engine::kvm {

/// ioctl(2); EINTR is retried. `name` goes into the error ("KVM_SET_SREGS"). Returns what the call returned.
[[nodiscard]] Result<int> request(int fd, unsigned long number, u64 argument, std::string_view name);
template <class T>
[[nodiscard]] Result<int> request(int fd, unsigned long number, T* argument, std::string_view name) {
  return request(fd, number, reinterpret_cast<u64>(argument), name);
}

}  // namespace nagaya::engine::kvm

/// `TRY_KVM(fd, KVM_SET_REGS, &regs);`: the error names the request.
#define TRY_KVM(fd, number, argument) TRY(::nagaya::engine::kvm::request((fd), (number), (argument), #number))
