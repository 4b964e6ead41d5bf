// A jail for a process that executes hostile guests: a guest that takes it over gets no other program, no network, no new
// privileges, no other process.
#pragma once
#include "base/result.hpp"

namespace nagaya::host {

struct JailOptions {
  bool network = false;  ///< IPv4 and IPv6 sockets, too
  bool threads = true;   ///< new threads may be started
  /// Without it files are only read: none is opened for writing, made, renamed or removed.
  bool write_files = true;
};

/// For the whole process, all threads, for good: no new privileges, and a seccomp filter under which starting programs or
/// processes, tracing others, changing namespaces, mounts, identities or the kernel, and sockets other than UNIX ones fail
/// with EPERM. Files, memory and threads go on working. Source: Linux Documentation/userspace-api/seccomp_filter.rst.
Result<> enter_jail(const JailOptions& options = {});

}  // namespace nagaya::host
