// A list of the system calls that a process may still make (seccomp). Source: Linux
// Documentation/userspace-api/seccomp_filter.rst.
#pragma once
#include <span>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::host {

/// What becomes of a call that is not on the list.
enum class Unlisted : u8 {
  refuse,  ///< it fails with EPERM
  report,  ///< the process says which call it was on standard error, and dies: for tests
};

class SyscallFilter {
 public:
  /// Allows a call whatever its arguments.
  SyscallFilter& allow(std::initializer_list<long> numbers);
  /// Allows a call when its argument (0 … 5), of which `mask` is looked at, is one of `values`. Only the low half of an argument
  /// counts: that is all the kernel takes of a descriptor, a command or a set of flags.
  SyscallFilter& allow_if(long number, unsigned argument, std::span<const u32> values, u32 mask = ~u32{0});
  SyscallFilter& allow_if(long number, unsigned argument, std::initializer_list<u32> values, u32 mask = ~u32{0});
  /// Allows a call when both hold.
  SyscallFilter& allow_if_both(long number, unsigned argument, u32 value, unsigned argument2, u32 value2, u32 mask2 = ~u32{0});
  /// A call that fails with `code` (ENOSYS: the C library does it another way).
  SyscallFilter& refuse(long number, int code);

  /// For all threads, for good; they gain no privileges by starting programs either.
  [[nodiscard]] Result<> enter(Unlisted unlisted) const;

 private:
  struct Check {
    unsigned argument;
    u32 mask;
    std::vector<u32> values;
  };
  struct Rule {
    long number;
    std::vector<Check> checks;  ///< none: always
    int refusal = 0;
  };
  std::vector<Rule> rules_;
};

}  // namespace nagaya::host
